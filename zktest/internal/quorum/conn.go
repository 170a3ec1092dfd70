package quorum

import (
	"bytes"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// A Sink receives the bytes for a client until the client hangs up. Its methods must not block and
// must not call the cluster. Send must not keep the slice.
type Sink interface {
	Send(frame []byte)
	Close() // called after the last Send
}

// A Conn is a client's connection to one server.
type Conn struct {
	s    *server
	id   int
	addr string // of the client, host:port
	ip   string
	sink Sink

	in     [][]byte // frames that are not processed yet
	gone   bool     // the client has closed the connection; the server detects this after the last frame in `in`
	state  connState
	queued bool // the connection is in the cluster's ready list

	word     string // the four-letter word of the connection; "" is none
	session  int64
	timeout  int32 // as negotiated, in milliseconds
	old      bool  // neither the client's handshake nor the reply has the read-only flag
	auth     []wire.ID
	lastRead time.Duration
	buf      []byte

	inHold time.Duration // frames are not processed before this time
	out    []held        // frames that are sent later, in order

	received, sent int64
	since          int64  // time of opening, in milliseconds since 1970
	lastOp         string // of the last reply; requests that authenticate do not count
	lastXid        int32
}

// A held is a frame that is not sent before the given time. A nil frame closes
// the connection.
type held struct {
	at    time.Duration
	frame []byte
}

type connState int

const (
	fresh       connState = iota // no ConnectRequest yet
	handshaking                  // the reply is not sent yet; no frames are processed
	open
	ending // held frames are still sent; frames from the client are neither processed nor answered
	closed
)

const (
	idleEvery   = 10 * time.Second // interval of the check for idle connections
	sessionless = 10 * time.Second // time for which a connection may be without a session
)

// Connect opens a connection from a client at addr (host:port) to a server. It
// returns nil if the server is down or has too many connections from that host.
func (c *Cluster) Connect(server int, addr string, sink Sink) *Conn {
	s := c.servers[server]
	ip, _, _ := net.SplitHostPort(addr)
	if s.down || c.cfg.MaxConns > 0 && s.countIP(ip) >= c.cfg.MaxConns {
		return nil
	}
	c.conns++
	conn := &Conn{
		s: s, id: c.conns, addr: addr, ip: ip, sink: sink, lastRead: s.now(), since: c.wall(), lastOp: "NA",
		auth: []wire.ID{{Scheme: "ip", ID: ip}},
	}
	s.conns[conn.id] = conn
	return conn
}

func (s *server) countIP(ip string) int {
	n := 0
	for _, conn := range s.conns {
		if conn.ip == ip {
			n++
		}
	}
	return n
}

// ID returns the number of the connection. Connections are numbered in the
// order of opening.
func (c *Conn) ID() int { return c.id }

// Receive queues a frame of the client until the server processes it. The frame comes without its
// length. Receive keeps the slice.
func (c *Conn) Receive(frame []byte) {
	if c.state >= ending {
		return
	}
	c.in = append(c.in, frame)
	c.wake()
}

// ReceiveWord queues a four-letter word and the bytes that came with it. The connection serves only
// this word, and no frames.
func (c *Conn) ReceiveWord(word string, rest []byte) {
	c.word = word
	c.Receive(bytes.Clone(rest))
}

// Hangup records that the client has closed the connection. The frames that the server has not read
// yet stay in its socket. The server still processes them before it finds the end of the stream.
func (c *Conn) Hangup() {
	c.gone = true
	if c.state == ending {
		c.drop() // only delayed replies are lost
		return
	}
	c.wake()
}

// The method `wake` sends the delayed frames that are due, and schedules received frames for the
// next Run.
func (c *Conn) wake() {
	for len(c.out) > 0 && c.out[0].at <= c.s.now() && !c.s.paused {
		frame := c.out[0].frame
		c.out = c.out[1:]
		if frame == nil {
			c.shut()
			return
		}
		c.deliver(frame)
	}
	if !c.queued && (len(c.in) > 0 || c.gone) {
		c.queued = true
		c.s.c.ready = append(c.s.c.ready, c)
	}
}

// The method `release` returns the earliest time at which a held frame may proceed. If no frame is
// held, `ok` is false.
func (c *Conn) release() (at time.Duration, ok bool) {
	if len(c.in) > 0 && c.inHold > 0 {
		at, ok = c.inHold, true
	}
	if len(c.out) > 0 && (!ok || c.out[0].at < at) {
		at, ok = c.out[0].at, true
	}
	return at, ok
}

// The method `process` handles the frames that may be handled now.
func (c *Conn) process() {
	c.queued = false
	for len(c.in) > 0 && c.readable() {
		frame := c.in[0]
		rule, hold := c.s.c.match(c, frame)
		if hold {
			c.s.hold(c)
			return
		}
		c.in = c.in[1:]
		c.handle(frame, rule)
	}
	if len(c.in) == 0 {
		c.in = nil
		if c.gone && c.readable() {
			c.drop()
		}
	}
}

// The method `readable` reports whether the server reads from the connection now.
func (c *Conn) readable() bool {
	return c.state < ending && c.state != handshaking && !c.s.paused && c.inHold <= c.s.now()
}

func (c *Conn) handle(frame []byte, rule *Rule) {
	c.lastRead = c.s.now()
	c.received++
	c.s.received++
	if c.word != "" {
		c.transmit([]byte(c.s.answer(c.word, frame)))
		c.shut()
		return
	}
	if !c.s.serving() {
		c.shut() // like a server without a quorum
		return
	}
	if c.state == fresh {
		c.handshake(frame)
		return
	}
	h, body, err := wire.CutRequest(frame)
	if err != nil {
		c.shut()
		return
	}
	if rule != nil {
		switch rule.Fate {
		case DropRequest:
			return
		case CloseBeforeRequest:
			c.shut()
			return
		}
	}
	switch h.Op {
	// An internal operation of the leader. In older releases, clients could send it too.
	case wire.OpDeleteContainer:
		if !c.s.c.cfg.Rules.ClientsDelete {
			c.end()
			return
		}
	case wire.OpAuth:
		c.authenticate(h, body, rule)
		return
	case wire.OpSASL: // no mechanism is configured, so ZooKeeper answers with an empty token
		if _, err := wire.Decode(body, &wire.AuthToken{}); err != nil {
			c.shut()
			return
		}
		c.respond(rule, &wire.ReplyHeader{Xid: h.Xid}, &wire.AuthToken{})
		return
	}
	c.s.submit(&request{
		conn: c, session: c.session, cxid: h.Xid, op: h.Op, body: body, auth: c.auth, rule: rule,
	})
}

func (c *Conn) authenticate(h wire.RequestHeader, body []byte, rule *Rule) {
	var req wire.AuthRequest
	if _, err := wire.Decode(body, &req); err != nil {
		c.shut()
		return
	}
	auth, ok := tree.Authenticate(c.auth, req.Scheme, req.Auth, c.ip, c.s.c.cfg.Super)
	c.auth = auth
	hdr := wire.ReplyHeader{Xid: h.Xid}
	if !ok {
		hdr.Err = wire.AuthFailed
	}
	c.respond(rule, &hdr, nil)
	if !ok {
		c.end()
	}
}

// Event implements tree.Watcher.
func (c *Conn) Event(e tree.Event) {
	c.buf = wire.AppendFrame(c.buf[:0],
		&wire.ReplyHeader{Xid: wire.XidNotification, Zxid: e.Zxid},
		&wire.WatcherEvent{Type: e.Type, State: wire.StateConnected, Path: e.Path})
	c.transmit(c.buf)
}

// Auth implements tree.Watcher.
func (c *Conn) Auth() []wire.ID { return c.auth }

// The method `reply` answers a request of the session, unless the rule of the request prevents the
// reply.
func (c *Conn) reply(r *request, h *wire.ReplyHeader, body wire.Record) {
	c.lastOp, c.lastXid = r.op.String(), r.cxid
	c.respond(r.rule, h, body)
}

// respond sends a reply in the way that the rule of its request demands.
func (c *Conn) respond(rule *Rule, h *wire.ReplyHeader, body wire.Record) {
	at := c.s.now()
	if rule != nil {
		switch rule.Fate {
		case DropReply:
			return
		case CloseBeforeReply:
			c.end()
			return
		case DelayReply:
			at += rule.Delay
		}
	}
	c.buf = wire.AppendFrame(c.buf[:0], h, body)
	c.transmitAt(at, c.buf)
}

// transmit sends a frame after the held frames.
func (c *Conn) transmit(frame []byte) { c.transmitAt(c.s.now(), frame) }

// transmitAt sends a frame no earlier than the given time, and after the held
// frames.
func (c *Conn) transmitAt(at time.Duration, frame []byte) {
	switch {
	case c.state >= ending:
	case len(c.out) > 0 || at > c.s.now():
		c.hold(at, bytes.Clone(frame))
	default:
		c.deliver(frame)
	}
}

func (c *Conn) hold(at time.Duration, frame []byte) {
	if n := len(c.out); n > 0 {
		at = max(at, c.out[n-1].at)
	}
	c.out = append(c.out, held{at, frame})
	c.s.hold(c)
}

func (c *Conn) deliver(frame []byte) {
	c.sent++
	c.s.sent++
	if !c.gone {
		c.sink.Send(frame)
	}
}

// The method `end` closes the connection from the server's side after the held frames are sent.
func (c *Conn) end() {
	switch {
	case c.state >= ending:
	case len(c.out) == 0:
		c.shut()
	default:
		c.state, c.in = ending, nil
		c.hold(c.s.now(), nil)
	}
}

// The method `shut` closes the connection from the server's side at once.
func (c *Conn) shut() {
	if c.state == closed {
		return
	}
	c.drop()
	if !c.gone {
		c.sink.Close()
	}
}

// The method `drop` removes the connection from the server. The connection's session continues.
func (c *Conn) drop() {
	c.state = closed
	c.in, c.out = nil, nil
	s := c.s
	delete(s.conns, c.id)
	if s.bySession[c.session] == c {
		delete(s.bySession, c.session)
	}
	if s.validating[c.session] == c {
		delete(s.validating, c.session)
	}
	s.tree.Watches.RemoveAll(c)
}

// closeIdle closes the connections that have received nothing for too long. The limit is the
// timeout of the session, or the constant `sessionless` if there is no session. The time at which
// the limit ends is rounded up to a multiple of idleEvery.
func (s *server) closeIdle() {
	s.nextIdle = s.now() + idleEvery
	for _, conn := range s.ordered() {
		limit := sessionless
		if conn.session != 0 {
			limit = millis(conn.timeout)
		}
		if (conn.lastRead+limit)/idleEvery*idleEvery+idleEvery <= s.now() {
			conn.shut()
		}
	}
}
