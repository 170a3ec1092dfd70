package quorum

import (
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// A link has the packets from one server to another, in order. While the link
// is cut the packets wait, because TCP retransmits them until one end closes
// the connection.
//
// A restored link stays silent until the sender's retransmission timer fires. The
// timer starts with the first packet that waits, and its interval doubles each
// time. So a restored link may stay silent for about as long as it was cut. Each
// direction has its own timer. The model is simplified in one respect: a sender
// that receives no acknowledgements, because the other direction is cut, does
// not slow down.
type link struct {
	cut   bool
	delay time.Duration
	queue []message

	stalled bool          // a packet waits for a retransmission
	since   time.Duration // when the first such packet was sent
	quiet   time.Duration // nothing arrives before this time
}

// maxInterval is the longest time between two retransmissions, like in Linux.
const maxInterval = 2 * time.Minute

// The method `stall` records that a packet was lost at the time `now`.
func (l *link) stall(now time.Duration) {
	if !l.stalled {
		l.stalled, l.since = true, now
	}
}

// The method `mend` ends the cut. Waiting packets arrive with the next retransmission. The argument
// `first` is the interval before the first retransmission. If it is not positive, waiting packets
// arrive at once.
func (l *link) mend(now, first time.Duration) {
	if !l.cut {
		return
	}
	l.cut = false
	if !l.stalled || first <= 0 {
		return
	}
	at, interval := l.since+first, first
	for at < now {
		interval = min(2*interval, maxInterval)
		at += interval
	}
	l.quiet = at + l.delay
}

// reset makes the link like that of a new connection, without waiting packets.
func (l *link) reset() { l.queue, l.stalled, l.quiet = nil, false, 0 }

// A message is one packet of the protocol between a leader and a follower.
type message struct {
	kind kind
	peer *peer // the connection that it is sent on
	at   time.Duration

	zxid    int64     // for proposal, ack, commit, ping and pong
	txn     *tree.Txn // for proposal
	req     *request  // for forward; a synced returns the request to the follower that forwarded it
	touched []touch   // for pong
	session int64     // for revalidate and revalidated
	timeout int32
	valid   bool
}

type kind int

const (
	proposal kind = iota
	ack
	commit
	ping
	pong
	forward
	synced
	revalidate
	revalidated
	eof // the other end has closed the connection
)

var kindNames = [...]string{
	"PROPOSAL", "ACK", "COMMIT", "PING", "PONG", "REQUEST", "SYNC", "REVALIDATE", "REVALIDATED", "EOF",
}

func (k kind) String() string { return kindNames[k] }

// A touch is a session that was active, with its timeout in milliseconds.
type touch struct {
	session int64
	timeout int32
}

// A peer is the connection between a leader and one follower, with the state of
// the leader's handler.
type peer struct {
	leader, follower *server
	term             *term
	closed           [2]bool // whether the leader, and whether the follower, has closed it

	acked    int64
	deadline int64         // the leader's tick until which the follower counts as in sync
	heard    time.Duration // when the leader last read a packet
	pending  []unacked     // proposals that the follower has not acknowledged
}

// An unacked is a proposal with the time at which it was sent.
type unacked struct {
	zxid int64
	at   time.Duration
}

func (c *Cluster) send(from, to *server, m message) {
	l := c.links[from.id][to.id]
	m.at = c.now + l.delay
	l.queue = append(l.queue, m)
	if l.cut {
		c.heldBack++
		l.stall(c.now)
	}
}

// The method `due` returns the earliest time at which the first message may arrive.
func (l *link) due() (time.Duration, bool) {
	if l.cut || len(l.queue) == 0 {
		return 0, false
	}
	return max(l.queue[0].at, l.quiet), true
}

// Deliverable reports whether a message can arrive on a link now.
func (c *Cluster) Deliverable(from, to int) bool {
	at, ok := c.links[from][to].due()
	return ok && at <= c.now && !c.servers[to].paused
}

// Deliver delivers the first message of a link, if one can arrive.
func (c *Cluster) Deliver(from, to int) bool {
	if !c.Deliverable(from, to) {
		return false
	}
	l := c.links[from][to]
	m := l.queue[0]
	l.stalled = false
	l.queue[0] = message{}
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil
	}
	s := c.servers[to]
	if c.cfg.Manual {
		c.cfg.Trace("%d>%d %v zxid=%x", from, to, m.kind, m.zxid)
	}
	switch {
	case s.term != nil && s.term.peers[from] == m.peer && m.peer.leader == s:
		s.term.receive(m)
	case s.up == m.peer:
		s.fromLeader(m)
	}
	return true
}

// hangUp closes the connection at the server s. The server at the other end notices this when the
// packet eof arrives.
func (p *peer) hangUp(s *server) {
	end, other := 0, p.follower
	if s == p.follower {
		end, other = 1, p.leader
	}
	if p.closed[end] {
		return
	}
	p.closed[end] = true
	s.c.send(s, other, message{kind: eof, peer: p})
}

// A request is a client's request on its way through the servers.
type request struct {
	conn    *Conn // nil at a server that it was forwarded to
	session int64
	cxid    int32
	op      wire.Op
	body    []byte
	auth    []wire.ID
	err     wire.Code // the leader's error for a read
	rule    *Rule     // the fault for this request; nil for none
}

// needsCommit reports whether the request waits for the leader. A write waits, and so does a sync
// at a follower. A sync at the leader does not wait, and neither does a throttled request.
func (r *request) needsCommit(follower bool) bool {
	return !r.throttled() && (r.op.IsWrite() || r.op == wire.OpSync && follower)
}

// The method `throttled` reports whether a rule makes the server refuse the request, like a request
// that has waited too long in the server's queue.
func (r *request) throttled() bool {
	return r.rule != nil && r.rule.Fate == ThrottleRequest && throttlable(r.op)
}

// throttlable reports whether a server may refuse requests with this operation. A server never
// refuses requests that keep, open or close a session.
func throttlable(op wire.Op) bool {
	return op != wire.OpPing && op != wire.OpCreateSession && op != wire.OpCloseSession
}
