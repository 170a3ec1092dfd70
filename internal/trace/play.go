package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// Servers are the servers of an ensemble, the leader first.
type Servers struct {
	Addresses []string
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)

	// Patience is the time limit for a reply; 0 means one minute. A run that waits longer is
	// invalid.
	Patience time.Duration
}

// A Transcript describes the replies of one ensemble to a trace, with one text for each step.
// Session ids, zxids and times differ between ensembles, so the texts have names in place of them,
// such as "session 1 of client 0" or the name of the step that created a zxid. So ensembles that
// behave alike have equal transcripts.
type Transcript []string

// A run is one trace on one ensemble.
type run struct {
	ctx     context.Context
	servers *Servers
	root    string
	clients [clients]client

	writes   []int64          // zxids of the trace's writes so far
	names    map[int64]string // by zxid, the name of the step that created it
	windows  map[int64][2]int64
	sessions map[int64]string
	out      strings.Builder // output of the current step
	began    int64           // when the current step began, in milliseconds since 1970
	tally    Tally
}

// A client has one session at a time.
type client struct {
	index    int
	link     *Link // nil before it has a session
	left     *Link // the earlier connection that is still open, or nil
	session  int64
	password []byte
	opened   int // number of sessions so far
}

// A Tally counts outcomes by operation, to show what a set of traces has covered.
type Tally map[string]map[string]int

func (t Tally) add(op, outcome string) {
	if t == nil {
		return
	}
	if t[op] == nil {
		t[op] = map[string]int{}
	}
	t[op][outcome]++
}

// Play creates `root` and runs a trace whose paths are below it. An error means that the run is
// invalid: an ensemble did not reply, or bytes could not be decoded.
func Play(ctx context.Context, s *Servers, root string, steps []Step, t Tally) (Transcript, error) {
	r := &run{
		ctx: ctx, servers: s, root: root, tally: t,
		names: map[int64]string{0: "zxid 0", -1: "zxid -1"}, windows: map[int64][2]int64{}, sessions: map[int64]string{0: "0"},
	}
	for i := range r.clients {
		r.clients[i].index = i
	}
	defer func() {
		for i := range r.clients {
			r.clients[i].link.Close()
			r.clients[i].left.Close()
		}
	}()
	setup := Step{op: wire.OpCreate, req: &wire.CreateRequest{Path: root, ACL: []wire.ACL{{Perms: wire.PermAll, ID: world}}}}
	if err := r.step("root", setup); err != nil {
		return nil, err
	}
	if got := r.out.String(); !strings.Contains(got, "reply ok") {
		return nil, fmt.Errorf("cannot create %s: %s", root, got)
	}
	var all Transcript
	for i, s := range steps {
		if err := r.step(fmt.Sprint(i), s); err != nil {
			return all, fmt.Errorf("step %d, %v: %w", i, s, err)
		}
		all = append(all, strings.ReplaceAll(r.out.String(), root, "~"))
	}
	return all, r.end()
}

// The method `end` closes the sessions, so that none remains if the ensemble is used again.
func (r *run) end() error {
	for i := range r.clients {
		if c := &r.clients[i]; c.link != nil && !c.link.over {
			if _, err := c.link.Ask(wire.OpCloseSession, 0, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// The method `note` adds a line to the transcript of the step.
func (r *run) note(format string, args ...any) { fmt.Fprintf(&r.out, format+"\n", args...) }

// The method `step` does one step, and then waits until all servers to which clients are connected
// have applied the writes of the step.
func (r *run) step(name string, s Step) error {
	r.out.Reset()
	r.began = time.Now().UnixMilli()
	c := &r.clients[s.client]
	if c.link == nil || c.link.over {
		if err := r.open(c); err != nil {
			return err
		}
	}
	var err error
	switch {
	case s.kind != request:
		err = r.connection(c, s)
	case s.stale:
		err = r.onLeft(name, c, s)
	default:
		err = r.request(name, c.link, s)
	}
	if err != nil {
		return err
	}
	return r.settle(s)
}

// The method `settle` waits until the servers of all clients have applied the step, and collects
// the events that the step has caused. If the step ends a session, the events are sorted, because
// ZooKeeper deletes the session's ephemeral znodes in the order of a hash table.
//
// If a client closes its session on a second connection, the server immediately closes the client's
// first connection. So the client may or may not receive its events, and `settle` leaves out the
// events of this client.
func (r *run) settle(s Step) error {
	last := r.last()
	for i := range r.clients {
		c := &r.clients[i]
		if c.link == nil {
			continue
		}
		if err := c.link.CatchUp(last); err != nil {
			return err
		}
		var lines []string
		for _, e := range c.link.Events() {
			lines = append(lines, fmt.Sprintf("client %d: event %d %d %q, zxid %s", i, e.Type, e.State, e.Path, r.zxid(e.Zxid)))
		}
		if s.kind == closeAfar || s.op == wire.OpCloseSession {
			slices.Sort(lines)
		}
		if s.kind == closeAfar && i == s.client {
			lines = nil
		}
		for _, line := range lines {
			r.tally.add("event", line[len("client 0: "):len("client 0: event 0")])
			r.note("%s", line)
		}
		if c.link.over {
			r.note("client %d: hung up", i)
			c.link.Close()
			c.left.Close()
			c.link, c.left = nil, nil
		}
	}
	return nil
}

func (r *run) last() int64 {
	if len(r.writes) == 0 {
		return 0
	}
	return r.writes[len(r.writes)-1]
}

// The method `open` opens a session at the client's usual server, and adds the response to the
// transcript.
func (r *run) open(c *client) error {
	l, err := Dial(r.ctx, r.servers, c.index)
	if err != nil {
		return err
	}
	rsp, err := l.Handshake(wire.ConnectRequest{Timeout: int32(sessionTimeout.Milliseconds()), Password: make([]byte, 16)})
	if err == nil && rsp == nil {
		err = errors.New("the server granted no session")
	}
	if err != nil {
		l.Close()
		return err
	}
	c.opened++
	c.link, c.left, c.session, c.password = l, nil, rsp.SessionID, rsp.Password
	r.sessions[rsp.SessionID] = fmt.Sprintf("session %d of client %d", c.opened, c.index)
	r.note("client %d: new %s", c.index, r.connected(rsp))
	return l.CatchUp(r.last())
}

func (r *run) connected(rsp *wire.ConnectResponse) string {
	if rsp == nil {
		return "none: hung up"
	}
	name, ok := r.sessions[rsp.SessionID]
	if !ok {
		name = "unknown session"
	}
	return fmt.Sprintf("%s, timeout %d, %d bytes of password, read-only %v %v, version %d", name, rsp.Timeout, len(rsp.Password),
		rsp.ReadOnly, rsp.NoReadOnly, rsp.ProtocolVersion)
}

// The method `connection` does a step that affects the client's connection.
func (r *run) connection(c *client, s Step) error {
	// The request does not contain the last zxid that the client has seen. Otherwise a server that
	// has not applied that zxid yet would refuse the client. The server with the role s.role may be
	// such a server, because `settle` waits only for servers to which clients are connected.
	req := wire.ConnectRequest{Timeout: int32(sessionTimeout.Milliseconds()), SessionID: c.session,
		Password: c.password, NoReadOnly: s.old}
	switch s.kind {
	case resume:
		if err := c.link.HangUp(); err != nil {
			return err
		}
		c.link.over = true
	case impostor:
		req.Password = bytes.Repeat([]byte{7}, 16)
	case prophet:
		req.LastZxidSeen = 1 << 62
	}
	l, err := Dial(r.ctx, r.servers, s.role)
	if err != nil {
		return err
	}
	rsp, err := l.Handshake(req)
	if err != nil {
		l.Close()
		return err
	}
	r.note("client %d: %s gives %s", s.client, kindNames[s.kind], r.connected(rsp))
	r.tally.add(kindNames[s.kind], map[bool]string{true: "connected", false: "refused"}[rsp != nil && rsp.SessionID != 0])
	if rsp == nil || rsp.SessionID == 0 {
		return refused(l)
	}
	if s.kind == closeAfar {
		defer l.Close()
		if rsp.SessionID != c.session {
			return nil // the server has opened another session, so the client's connection stays
		}
		if err := r.request("", l, Step{client: s.client, op: wire.OpCloseSession}); err != nil {
			return err
		}
		if err := l.AwaitEnd(); err != nil {
			return err
		}
		return c.link.AwaitEnd()
	}
	if err := c.left.HangUp(); err != nil {
		return err
	}
	c.left = nil
	if s.kind == take {
		c.left, c.link.left = c.link, true
	}
	c.link = l
	return nil
}

// The function `refused` waits until the server closes a connection that got no session.
func refused(l *Link) error {
	defer l.Close()
	if !l.over {
		return l.AwaitEnd()
	}
	return nil
}

// onLeft does a request on the earlier connection of a client. That connection may or may not stay
// open. The events that this connection receives are not compared, because no step waits for them.
func (r *run) onLeft(name string, c *client, s Step) error {
	if c.left == nil {
		r.note("client %d: has left no connection", s.client)
		return nil
	}
	if err := c.left.CatchUp(r.last()); err != nil {
		return err
	}
	if !c.left.over {
		if err := r.request(name, c.left, s); err != nil {
			return err
		}
	}
	if c.left.over {
		r.note("client %d: the connection that it has left is closed", s.client)
		c.left.Close()
		c.left = nil
	}
	return nil
}

// The method `request` sends a request and renders the reply.
func (r *run) request(name string, l *Link, s Step) error {
	xid := l.NextXid()
	switch s.op {
	case wire.OpPing:
		xid = wire.XidPing
	case wire.OpAuth:
		xid = wire.XidAuth
	case wire.OpSetWatches, wire.OpSetWatches2:
		xid = wire.XidSetWatches
	}
	frame, err := l.Ask(s.op, xid, r.body(s))
	if err != nil {
		return err
	}
	if frame == nil {
		outcome := map[bool]string{true: "connection closed", false: "never answered"}[l.over]
		r.note("client %d: %s", s.client, outcome)
		r.tally.add(s.op.String(), outcome)
		return nil
	}
	var h wire.ReplyHeader
	body, err := wire.Decode(frame, &h)
	if err != nil {
		return fmt.Errorf("decode reply %x: %w", frame, err)
	}
	zxid := r.header(name, s, h)
	r.note("client %d: reply %s, xid %+d, zxid %s%s", s.client, h.Err.String(), h.Xid-xid, zxid, r.response(s.op, body))
	r.tally.add(s.op.String(), h.Err.String())
	if s.op == wire.OpCloseSession {
		return l.AwaitEnd()
	}
	return nil
}

// The method `body` returns the bytes after the header of a step's request.
func (r *run) body(s Step) []byte {
	since := int64(0)
	if n := len(r.writes) - 1 - s.since; n >= 0 {
		since = r.writes[n]
	}
	var b []byte
	switch req := s.req.(type) {
	case nil:
	case *wire.SetWatchesRequest:
		dated := *req
		dated.RelativeZxid = since
		b = wire.Append(nil, &dated)
	case *wire.SetWatches2Request:
		dated := *req
		dated.RelativeZxid = since
		b = wire.Append(nil, &dated)
	default:
		b = wire.Append(nil, req)
	}
	return b[:max(0, len(b)-s.cut)]
}

// clockError is the tolerance for a server's time, in milliseconds. The server rounds its times,
// and its clock may differ from the clock of this process.
const clockError = 20

// The method `header` returns the text for the zxid of a reply. If the reply to a write has a new
// zxid, the text is "new". Later texts show this zxid by the name of its step, for example "of step
// 3". The reply to a read has the zxid of the server's last transaction, which may belong to
// another trace. So the text for a read is "now", unless its zxid is smaller than the zxid of the
// last write of this run.
func (r *run) header(name string, s Step, h wire.ReplyHeader) string {
	writes := s.op.IsWrite() && (h.Err != wire.MarshallingError || s.op == wire.OpMulti) // see Releases in the package comment of difftest
	if h.Zxid <= r.last() || !writes {
		if !writes && h.Zxid >= r.last() && h.Zxid > 0 {
			return "now"
		}
		return r.zxid(h.Zxid)
	}
	r.writes = append(r.writes, h.Zxid)
	r.names[h.Zxid] = "step " + name
	r.windows[h.Zxid] = [2]int64{r.began - clockError, time.Now().UnixMilli() + clockError}
	return "new"
}
