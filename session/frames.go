package session

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// This file is what the session learns from each frame that goes over its
// connection. Everything here is short and does no I/O.

// A packet is a request that was sent and not answered yet.
type packet struct {
	op       wire.Op
	path     string // of a read that sets a watch
	watching bool   // the read sets a watch
	note     *note  // of the call, if it wants one
	sent     time.Time
}

// errAbandoned says that a request is not to be written because its caller has gone.
var errAbandoned = errors.New("abandoned request")

// sending is called with each frame of c just before it is written, and may
// change it. The id is that of its ticket, 0 if it has none. It returns the frames
// that have to go before it, and a channel, if any, to be closed when it was written.
// With errAbandoned, the frame must not be written, and the client gets an error as
// its reply together with the next frame that the server sends.
//
// The queued frames are taken in the same step that marks a read as watching:
// one that removes a watch must not follow the read that sets it anew.
func (s *Session) sending(c *conn, frame []byte, id uint64) (first []byte, written chan struct{}, err error) {
	h, body, err := wire.CutRequest(frame)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != c {
		return nil, nil, errBroken
	}
	p := packet{op: h.Op, sent: time.Now()}
	if id != 0 {
		t := s.tickets.pass(id)
		if t == nil {
			c.drops = wire.AppendFrame(c.drops, &wire.ReplyHeader{Xid: h.Xid, Err: wire.ConnectionLoss})
			return nil, nil, errAbandoned
		}
		if p.note = t.note; p.note != nil {
			written = p.note.begin()
		}
	}
	first, s.queued = s.queued, nil
	switch {
	case h.Xid == wire.XidPing:
		s.pings = append(s.pings, p.sent)
		return first, nil, nil
	case watchable(h.Op) && len(s.watches) > 0:
		s.armLocked(&p, wire.FirstPath(h.Op, body), body)
	}
	s.inflight[h.Xid] = p
	return first, written, nil
}

// received is called with each frame that c has read, before the client sees
// it. It returns frames that the client has to see after it. An error closes the
// connection.
func (s *Session) received(c *conn, frame []byte) (more []byte, err error) {
	now := time.Now()
	h, body, err := wire.CutReply(frame)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != c {
		return nil, errBroken
	}
	more, c.drops = c.drops, nil
	return more, s.receivedLocked(&h, body, now)
}

func (s *Session) receivedLocked(h *wire.ReplyHeader, body []byte, now time.Time) error {
	switch h.Xid {
	case wire.XidNotification:
		s.seenZxid, s.told = max(s.seenZxid, h.Zxid), s.told || h.Zxid <= 0
		return s.notifyLocked(body)
	case wire.XidPing:
		s.pongLocked(now)
		return nil
	case wire.XidAuth:
		return s.authenticatedLocked(h.Err)
	case wire.XidSetWatches:
		if h.Err != 0 {
			return fmt.Errorf("session: watches not set again: %w", h.Err)
		}
		return nil
	}
	s.unwelcome = s.unwelcome || h.Err == wire.SessionClosedRequireSASL
	s.repliedLocked(h, body, now)
	return nil
}

// answeredByQuorum reports whether a reply to a write shows that the leader
// took the session for alive and that a majority knows of the write. An error
// in the header shows neither, since servers also refuse locally. The header of
// a multi has no error even if the multi failed: the first error in its body
// says why. Preparing a part begins with a check of the session, so that an
// answer about a node is an answer to a living session. An empty multi proves
// nothing.
func answeredByQuorum(op wire.Op, code wire.Code, body []byte) bool {
	switch {
	case code != 0:
		return false
	case op.IsCreate(), op == wire.OpDelete, op == wire.OpSetData, op == wire.OpSetACL:
		return true
	case op != wire.OpMulti:
		return false
	}
	switch code, parts := wire.MultiError(body); code {
	case 0, wire.NoNode, wire.NoAuth, wire.BadVersion, wire.NodeExists, wire.NotEmpty:
		return parts > 0
	}
	return false
}

func (s *Session) repliedLocked(h *wire.ReplyHeader, body []byte, now time.Time) {
	p, ok := s.inflight[h.Xid]
	if !ok {
		return
	}
	delete(s.inflight, h.Xid)
	if h.Xid == xidIdle {
		s.syncing = false
		if h.Err != 0 {
			s.beatAfter = now.Add(s.timeout / spacing)
		}
		s.nudge()
	}
	s.lastZxid, s.seenZxid, s.told = max(s.lastZxid, h.Zxid), max(s.seenZxid, h.Zxid), s.told && h.Zxid <= 0
	if h.Err == 0 && p.op != wire.OpAuth && p.op != wire.OpSASL {
		s.lease.activity(p.sent, now)
	}
	switch {
	case answeredByQuorum(p.op, h.Err, body):
		s.lapseLocked(now) // before the deadline can move: the keeper may be late
		s.lease.write(p.sent, now, h.Zxid>>32)
		if s.lease.stands(now) {
			s.renewedLocked()
		}
	case p.op == wire.OpSync && h.Err == 0:
		s.lease.reached(p.sent, now)
	}
	if p.watching {
		s.armedLocked(p.path, p.op, h.Err)
	} else if p.note != nil && h.Err == 0 {
		p.note.zxid = h.Zxid
	}
}

func (s *Session) pongLocked(now time.Time) {
	if len(s.pings) > 0 {
		s.lease.activity(s.pings[0], now)
		s.pings = slices.Delete(s.pings, 0, 1)
	}
}

func (s *Session) authenticatedLocked(code wire.Code) error {
	if code == 0 {
		return nil
	}
	err := fmt.Errorf("%w: %w: %w", ErrLost, ErrCredentials, code)
	s.finishLocked(err)
	return err
}

// resume sees to it that a handshake asks for this session, where there is one
// already, and for a server that has applied all that the session has seen. The
// client asks for a new one if the connection broke just when the session had
// seen the answer to its first handshake, and the client had not.
func (s *Session) resume(r *wire.ConnectRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.SessionID {
	case s.id:
		r.LastZxidSeen = s.seenZxid
		return nil
	case 0:
		r.SessionID, r.Password, r.LastZxidSeen = s.id, s.password, s.seenZxid
		r.Timeout = int32(s.timeout / time.Millisecond)
		return nil
	}
	return errOver
}

// connected is called with the answer to the handshake of c. It begins or
// goes on with the session, or ends it if the server no longer has it.
func (s *Session) connected(c *conn, r *wire.ConnectResponse) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.life.Err() != nil:
		return errOver
	case c.gone: // closed by its own bound just now
		return errBroken
	case r.SessionID == 0 || r.Timeout <= 0:
		return s.refusedLocked("expired")
	case s.id != 0 && r.SessionID != s.id:
		// A server that answers with another id has begun another session
		// without saying that the first one expired.
		return s.refusedLocked("replaced by " + hexID(r.SessionID))
	}
	fresh := s.id == 0
	s.id, s.password = r.SessionID, slices.Clone(r.Password)
	s.foreign = !slices.ContainsFunc(r.Password, func(b byte) bool { return b != 0 })
	s.timeout = time.Duration(r.Timeout) * time.Millisecond
	c.served, s.current, s.dialError, s.failures = true, c, nil, 0
	clear(s.inflight)
	s.pings = s.pings[:0]
	s.syncing = false
	s.lease.restart(c.opened, s.timeout, s.tick(), fresh)
	s.lease.trustIdle = s.opts.UnsafeTrustIdle
	s.queued = s.greetingLocked()
	s.setStateLocked(Connected)
	s.up.set(true)
	s.nudge()
	s.logLocked(slog.LevelInfo, "zookeeper session connected", "session", hexID(s.id), "server", c.server,
		"new", fresh, "timeout", s.timeout, "took", now.Sub(c.opened))
	return nil
}

// refusedLocked ends the session at the word of a server.
func (s *Session) refusedLocked(how string) error {
	err := fmt.Errorf("%w: %s by the server", ErrLost, how)
	switch {
	case s.unwelcome:
		err = fmt.Errorf("%w: %w: %w", ErrLost, ErrCredentials, ErrAuthRequired)
	case s.id == 0:
		err = fmt.Errorf("%w: refused by the server", ErrLost)
	}
	s.finishLocked(err)
	return err
}

// tick is the server's tick, or the longest that it can be: unless its
// minSessionTimeout was lowered, a server grants no session timeout below two
// ticks.
func (s *Session) tick() time.Duration {
	return cmp.Or(s.opts.TickTime, s.timeout/2)
}

// greetingLocked is what a new connection starts with: credentials, then the
// watches that the last one had.
//
// No read may be older than an event that came before it. Since ZooKeeper 3.9 an
// event carries its zxid, and a server that is behind it refuses the session. The
// next server may not know yet of an event without a zxid, as 3.8 sends them, and
// as any version answers setWatches. Then a quorum write comes in between, as in
// readBarrier.
func (s *Session) greetingLocked() []byte {
	var out []byte
	for _, a := range s.opts.Auth {
		if a.Scheme == SASLScheme {
			continue // the connection has logged in
		}
		out = wire.AppendFrame(out, &wire.RequestHeader{Xid: wire.XidAuth, Op: wire.OpAuth},
			&wire.AuthRequest{Scheme: a.Scheme, Auth: a.Data})
	}
	if s.told {
		check := wire.MultiOp{Op: wire.OpCheck, Request: &wire.PathVersion{Path: s.inner("/"), Version: AnyVersion}}
		out = wire.AppendFrame(out, &wire.RequestHeader{Xid: xidCatchUp, Op: wire.OpMulti}, &wire.MultiRequest{Ops: []wire.MultiOp{check}})
	}
	return s.appendWatchesLocked(out)
}

// disconnected is called when c was closed, by whichever side, and says why.
func (s *Session) disconnected(c *conn, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.gone = true
	s.avoid(c)
	if !c.served {
		s.notReachedLocked(c.server, why)
	}
	if s.current != c {
		return
	}
	if s.life.Err() == nil {
		s.logLocked(slog.LevelInfo, "zookeeper connection lost", "session", hexID(s.id), "server", c.server, "error", why)
	}
	s.current, s.downSince = nil, time.Now()
	if s.downSince.Sub(c.opened) >= longestPause {
		s.attempts = 0 // else a server that takes connections only to close them would be asked without pause
	}
	s.up.set(false)
	s.lease.disconnect()
	s.disarmLocked()
	if s.life.Err() == nil {
		s.setStateLocked(Suspended)
	}
	s.nudge()
}

// avoid has other addresses of the server's name tried before that of c.
func (s *Session) avoid(c *conn) {
	if s.opts.dialer != nil {
		s.opts.dialer.avoid(c.Conn.RemoteAddr().String())
	}
}

// queueLocked adds a frame to be sent before the next of c.
func (s *Session) queueLocked(h wire.RequestHeader, body wire.Record) {
	s.queued = wire.AppendFrame(s.queued, &h, body)
}

func (s *Session) takeQueued(c *conn) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != c {
		return nil
	}
	frames := s.queued
	s.queued = nil
	return frames
}
