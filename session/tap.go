package session

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A tap handles each frame that the client and the server exchange on the connections of a session.
// It reports to the lease keeper when requests were sent and answered, and to the watch registry
// which watches fired. It also begins and resumes the session, and never lets the client begin a
// second session. The methods of a tap are short and do no I/O. The type conn reads and writes the
// frames.
//
// If a method of the tap returns an error that is ErrLost, the caller of the method ends the
// session. After any other error except errAbandoned, the caller closes the connection.
//
// A goroutine that locks several mutexes of the session locks the tap's mutex first.
type tap struct {
	opts    *Options
	root    chroot
	keeper  *leaseKeeper
	watches *watchRegistry
	servers *servers
	states  *states
	reports *reporter
	life    *lifetime
	up      *gate    // open while there is a connection
	tickets *tickets // of the requests in progress

	mu       sync.Mutex
	id       int64 // 0 before the session has begun
	password []byte
	timeout  time.Duration // the timeout that was granted; before that, the requested one

	current   *conn // the connection that serves the session; nil if there is none
	downSince time.Time
	lastZxid  int64 // of the latest reply; all events up to this zxid came before that reply
	seenZxid  int64 // of the latest reply or event; a server that has applied less must not answer
	told      bool  // after the last reply, an event came without a zxid; seenZxid may not cover it
	unwelcome bool  // a server requires credentials that it did not get, and is closing the session
	inflight  map[int32]packet
	pings     []time.Time // when each unanswered ping was sent
}

// A packet is a request that was sent and has not been answered.
type packet struct {
	op    wire.Op
	armed string        // the path, if the packet is a read that sets a watch
	trace *engine.Trace // of the call, if it is traced
	sent  time.Time
}

func newTap(opts *Options, life *lifetime, k *leaseKeeper, w *watchRegistry, h *servers, st *states, r *reporter) *tap {
	return &tap{
		opts: opts, root: w.root, life: life, keeper: k, watches: w, servers: h, states: st, reports: r,
		up: new(gate), tickets: newTickets(),
		timeout: opts.Timeout, downSince: time.Now(), inflight: make(map[int32]packet),
	}
}

// errAbandoned means that a request must not be written because its caller has gone.
var errAbandoned = errors.New("abandoned request")

// The method `sending` is called with each frame of c just before the frame is written, and can
// change the frame. `id` is the frame's ticket, or 0. The caller must send the frames in `first`
// before this frame. If `written` is not nil, the caller must close it when this frame has been
// written.
//
// After errAbandoned, the frame must not be written. The client then gets an error as the reply to
// its request, together with the next frame that the server sends.
func (t *tap) sending(c *conn, frame []byte, id ticket) (first []byte, written chan struct{}, err error) {
	h, body, err := wire.CutRequest(frame)
	if err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != c {
		return nil, nil, errBroken
	}
	p := packet{op: h.Op, sent: time.Now()}
	if id != 0 {
		trace, ok := t.tickets.pass(id)
		if !ok {
			c.drops = wire.AppendFrame(c.drops, &wire.ReplyHeader{Xid: h.Xid, Err: wire.ConnectionLoss})
			return nil, nil, errAbandoned
		}
		if p.trace = trace; trace != nil {
			written = trace.Begin()
		}
	}
	first, p.armed = t.watches.sending(h.Op, body)
	if h.Xid == wire.XidPing {
		t.pings = append(t.pings, p.sent)
	} else {
		t.inflight[h.Xid] = p
	}
	if t.opts.leases != nil {
		t.opts.leases(leasetrace.Event{Kind: leasetrace.Sent, At: p.sent, Xid: h.Xid, Op: h.Op})
	}
	return first, written, nil
}

// The method `received` is called with each frame that c has read, before the client reads it. It
// returns frames that the client must read after that frame.
func (t *tap) received(c *conn, frame []byte) (more []byte, err error) {
	now := time.Now()
	h, body, err := wire.CutReply(frame)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != c {
		return nil, errBroken
	}
	more, c.drops = c.drops, nil
	t.unwelcome = t.unwelcome || h.Err == wire.SessionClosedRequireSASL
	switch h.Xid {
	case wire.XidNotification:
		t.seenZxid, t.told = max(t.seenZxid, h.Zxid), t.told || h.Zxid <= 0
		err = t.watches.notified(body)
	case wire.XidPing:
		t.pongLocked(now)
	case wire.XidAuth:
		if h.Err != 0 {
			err = fmt.Errorf("%w: %w: %w", ErrLost, ErrCredentials, h.Err)
		}
	case wire.XidSetWatches:
		if h.Err != 0 {
			err = fmt.Errorf("session: watches not set again: %w", h.Err)
		}
	case xidCatchUp:
		if h.Err != 0 { // nothing was written, so a read on this connection could be older than an event
			err = fmt.Errorf("session: no write before the reads of a new connection: %w", h.Err)
		}
	case xidRemoveWatches:
		t.watches.removed(h.Err)
	default:
		t.repliedLocked(&h, body, now)
	}
	return more, err
}

func (t *tap) repliedLocked(h *wire.ReplyHeader, body []byte, now time.Time) {
	p, ok := t.inflight[h.Xid]
	if !ok {
		return
	}
	delete(t.inflight, h.Xid)
	t.lastZxid, t.seenZxid, t.told = max(t.lastZxid, h.Zxid), max(t.seenZxid, h.Zxid), t.told && h.Zxid <= 0
	t.keeper.answered(proofOf(p.op, h.Err, body), p.sent, now, reply{p.op, *h, body})
	if h.Xid == xidIdle {
		t.keeper.synced(now, h.Err == 0)
	}
	if p.armed != "" {
		t.watches.answered(p.op, p.armed, h.Err)
	} else if p.trace != nil && h.Err == 0 {
		p.trace.Replied(h.Zxid)
	}
}

func (t *tap) pongLocked(now time.Time) {
	if len(t.pings) > 0 {
		t.keeper.answered(proofActive, t.pings[0], now, reply{op: wire.OpPing, header: wire.ReplyHeader{Xid: wire.XidPing}})
		t.pings = slices.Delete(t.pings, 0, 1)
	}
}

// A proof says how much an answer proves for the lease. A larger proof includes the smaller ones.
type proof int

const (
	proofNone     proof = iota
	proofActive         // the session was active
	proofLeader         // the path to the leader and back was open
	proofMajority       // the leader considered the session alive, and a majority acknowledged a write
)

// proofOf returns what a reply proves. An error in the header proves nothing, because servers also
// refuse requests locally. A multi that failed has no error in its header, only in its body. If the
// first error in the body is about a znode, the session was alive, because the server checks the
// session before it prepares a part. An empty multi proves nothing about the leader.
func proofOf(op wire.Op, code wire.Code, body []byte) proof {
	switch {
	case code != 0, op == wire.OpAuth, op == wire.OpSASL:
		return proofNone
	case op.IsCreate(), op == wire.OpDelete, op == wire.OpSetData, op == wire.OpSetACL:
		return proofMajority
	case op == wire.OpSync:
		return proofLeader
	case op != wire.OpMulti:
		return proofActive
	}
	switch code, parts := wire.MultiError(body); code {
	case 0, wire.NoNode, wire.NoAuth, wire.BadVersion, wire.NodeExists, wire.NotEmpty:
		if parts > 0 {
			return proofMajority
		}
	}
	return proofActive
}

// resume changes the client's ConnectRequest before it is sent. It sets LastZxidSeen, so that a
// server refuses the connection if the server has not applied everything that the session has seen.
//
// If the session has begun and the client requests a new session, resume turns this request into a
// request for the current session. The client requests a new session if its first connection broke
// before the client had read the answer to the handshake. A request for any other session is an
// error.
func (t *tap) resume(r *wire.ConnectRequest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r.SessionID {
	case t.id:
		r.LastZxidSeen = t.seenZxid
		return nil
	case 0:
		r.SessionID, r.Password, r.LastZxidSeen = t.id, t.password, t.seenZxid
		r.Timeout = int32(t.timeout / time.Millisecond)
		return nil
	}
	return errOver
}

// The method `connected` is called with the answer to the handshake of c. It begins or resumes the
// session and returns the frames that must be sent first. It fails with ErrLost if the server no
// longer has the session.
func (t *tap) connected(c *conn, r *wire.ConnectResponse) (greeting []byte, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.life.err() != nil:
		return nil, errOver
	case c.gone: // the timer of the handshake has just closed c
		return nil, errBroken
	case r.SessionID == 0 || r.Timeout <= 0:
		return nil, t.refusedLocked("expired")
	case t.id != 0 && r.SessionID != t.id:
		// A server that answers with another id has begun another session without reporting that
		// the first one expired.
		return nil, t.refusedLocked("replaced by " + hexID(r.SessionID))
	}
	fresh := t.id == 0
	t.id, t.password = r.SessionID, slices.Clone(r.Password)
	t.timeout = time.Duration(r.Timeout) * time.Millisecond
	c.served, t.current = true, c
	clear(t.inflight)
	t.pings = t.pings[:0]
	t.keeper.connected(c, c.opened, terms{
		id: t.id, timeout: t.timeout, fresh: fresh,
		// A server grants no session timeout below two ticks, unless its minSessionTimeout was
		// lowered. So the tick is at most half the timeout.
		tick:    cmp.Or(t.opts.TickTime, t.timeout/2),
		foreign: !slices.ContainsFunc(r.Password, func(b byte) bool { return b != 0 }),
	})
	t.servers.reached()
	t.states.set(Connected)
	t.up.set(true)
	t.reports.log(slog.LevelInfo, "zookeeper session connected", "session", hexID(t.id), "server", c.server,
		"new", fresh, "timeout", t.timeout, "took", now.Sub(c.opened))
	return t.greetingLocked(), nil
}

// refusedLocked returns the error of a session that a server has ended, or has refused to open.
func (t *tap) refusedLocked(how string) error {
	switch {
	case t.unwelcome:
		return fmt.Errorf("%w: %w: %w", ErrLost, ErrCredentials, ErrAuthRequired)
	case t.id == 0:
		return fmt.Errorf("%w: the server refused to open the session", ErrLost)
	}
	return fmt.Errorf("%w: %s by the server", ErrLost, how)
}

// greetingLocked returns the first frames of a new connection: credentials, then the watches that
// the previous connection had.
//
// A read must not show a state from before an event that the client has received. Since ZooKeeper
// 3.9 an event carries its zxid, and a server that has not applied this zxid refuses the session.
// But in ZooKeeper 3.8 no event has a zxid, and in later versions an event in reply to setWatches
// has none.
//
// An event without a zxid does no harm if a reply came after the event: the zxid of the reply
// covers the change that the event reports. But if the event came after the last reply, the next
// server might not have applied the change. Then the next connection begins with a quorum write
// before all reads, like in recipe.ReadBarrier. If the server refuses this write, the server still
// might not have applied the change, so the connection is closed.
func (t *tap) greetingLocked() []byte {
	var out []byte
	for _, a := range t.opts.Auth {
		if a.Scheme == SASLScheme {
			continue // the connection has logged in already
		}
		out = wire.AppendFrame(out, &wire.RequestHeader{Xid: wire.XidAuth, Op: wire.OpAuth},
			&wire.AuthRequest{Scheme: a.Scheme, Auth: a.Data})
	}
	if t.told {
		check := wire.MultiOp{Op: wire.OpCheck, Request: &wire.PathVersion{Path: t.root.inner("/"), Version: AnyVersion}}
		out = wire.AppendFrame(out, &wire.RequestHeader{Xid: xidCatchUp, Op: wire.OpMulti}, &wire.MultiRequest{Ops: []wire.MultiOp{check}})
	}
	return t.watches.connected(out, t.lastZxid)
}

// The method `disconnected` is called once for each connection c, when c ends, with the reason.
func (t *tap) disconnected(c *conn, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.gone = true
	over := t.life.err() != nil
	if !c.served && !over {
		t.servers.notReached(c.server, t.id, why)
	}
	if t.current != c {
		return
	}
	if !over {
		t.reports.log(slog.LevelInfo, "zookeeper connection lost", "session", hexID(t.id), "server", c.server, "error", why)
	}
	t.current, t.downSince = nil, time.Now()
	clear(t.inflight) // the answers to these requests never come
	t.servers.lost(t.downSince.Sub(c.opened))
	t.up.set(false)
	t.keeper.disconnected()
	t.watches.disconnected()
	if !over {
		t.states.set(Suspended)
	}
}

// The method `down` reports whether the session has begun and has no connection, and since when.
func (t *tap) down() (since time.Time, down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.downSince, t.current == nil && t.id != 0
}

// The method `served` returns the address of the server that serves the session, or "".
func (t *tap) served() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return ""
	}
	return t.current.server
}

// identity returns the id, the password and the timeout of the session. Before the session has
// begun, the timeout is the requested one.
func (t *tap) identity() (id int64, password []byte, timeout time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id, t.password, t.timeout
}
