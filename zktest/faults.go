package zktest

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/quorum"
)

// ErrNoLeader is returned by faults that need a leader while there is none.
var ErrNoLeader = quorum.ErrNoLeader

// check panics unless there are such servers.
func (e *Ensemble) check(servers ...int) {
	for _, i := range servers {
		if i < 0 || i >= e.opts.Servers {
			panic(fmt.Sprintf("zktest: no server %d of %d", i, e.opts.Servers))
		}
	}
}

// Kill models kill -9 of a server: its connections to clients and to other
// servers end at once, and dialing it fails. What it has in its log, also what
// is not committed, it has after Start. It does nothing to one that is down.
func (e *Ensemble) Kill(server int) {
	e.check(server)
	e.do(func() { e.cluster.Kill(server) })
}

// Wipe models a disk that was replaced: a server that is down forgets all that
// it has stored, and starts as a new one. What it acknowledged is safe as long
// as a majority of the others has it. It does nothing to a server that runs.
func (e *Ensemble) Wipe(server int) {
	e.check(server)
	e.do(func() { e.cluster.Wipe(server) })
}

// SetSequence makes n the number of the next sequential child of path, as if
// that many had been made before: after 2147483647 there is none. It is a write
// by the leader, and reports whether there is one and knows such a node; without
// a quorum nothing comes of it. A create that is under way may come in between.
func (e *Ensemble) SetSequence(path string, n int32) (found bool) {
	e.do(func() { found = e.cluster.SetSequence(path, n) })
	return found
}

// Start models the start of a server that was killed. It serves once it has
// joined a leader, ElectionTime later or more.
func (e *Ensemble) Start(server int) {
	e.check(server)
	e.do(func() { e.cluster.Start(server) })
}

// Pause models a long garbage collection, or SIGSTOP: a server does nothing,
// and nobody is told. Its connections stay open, what is sent to it waits, and
// it can be dialed.
func (e *Ensemble) Pause(server int) {
	e.check(server)
	e.do(func() { e.cluster.Pause(server) })
}

// Resume lets a paused server go on. It takes up what has been sent to it and
// finds its timers run out, in an order drawn from the seed; a leader that was
// deposed meanwhile may still answer reads until it notices.
func (e *Ensemble) Resume(server int) {
	e.check(server)
	e.do(func() { e.cluster.Resume(server) })
}

// A Link is the packets that one server sends to another.
type Link struct{ From, To int }

// Cut models a network that drops the packets of some links between servers;
// clients still reach every server. What is sent waits, as TCP sends it again
// and again, until the link is mended or an end gives the connection up, after
// SyncLimit ticks of silence. Until then an isolated follower answers pings and
// reads, and an isolated leader also sync.
func (e *Ensemble) Cut(links ...Link) {
	for _, l := range links {
		e.check(l.From, l.To)
	}
	e.do(func() {
		for _, l := range links {
			e.cluster.Cut(l.From, l.To)
		}
	})
}

// Isolate cuts a server off from all others, in both directions.
func (e *Ensemble) Isolate(server int) {
	e.check(server)
	var links []Link
	for other := range e.opts.Servers {
		if other != server {
			links = append(links, Link{server, other}, Link{other, server})
		}
	}
	e.Cut(links...)
}

// Mend undoes the cuts of some links, or all cuts if none is named. A link on
// which packets waited stays silent until its sender's retransmission timer
// fires, and what was sent meanwhile arrives then, in order. The timer starts
// with the first packet that waits. It fires after [Options.Retransmission], and
// its interval doubles each time: after 0.2, 0.6, 1.4, 3.0, 6.2 s and so on. Each
// direction has its own timer. So after a partition one direction may work
// seconds before the other. A link on which nothing waited works at once.
func (e *Ensemble) Mend(links ...Link) {
	for _, l := range links {
		e.check(l.From, l.To)
	}
	e.do(func() {
		if len(links) == 0 {
			e.cluster.MendAll()
		}
		for _, l := range links {
			e.cluster.Mend(l.From, l.To)
		}
	})
}

// HeldBack returns how many packets had to wait for a cut link so far: a cut
// for which it does not rise hurt nobody.
func (e *Ensemble) HeldBack() int {
	n := 0
	e.do(func() { n = e.cluster.HeldBack() })
	return n
}

// DelayLink models a slow network between servers: packets of a link take d
// from now on. 0 undoes it. Their order stays. A server needs one round trip to
// join its leader. From a leader to its follower it
// also models a follower that is slow to read: it answers pings, and so reports
// which sessions were active, as late as it learns of commits, for one thread
// does both, while it forwards requests in time.
func (e *Ensemble) DelayLink(l Link, d time.Duration) {
	e.check(l.From, l.To)
	e.do(func() { e.cluster.Delay(l.From, l.To, d) })
}

// Lag models a replica that is behind: from now on the server applies what is
// committed d late, its own clients' writes too. It votes and acknowledges as
// before. 0 undoes it.
//
// A follower's sync waits its turn behind the commits that it has yet to apply.
// A leader answers a sync of its own clients at once, like a read, as
// ZooKeeper's leader does: where the leader lags, what is read after a sync can
// be as stale as before it. Only a write of the same session waits.
func (e *Ensemble) Lag(server int, d time.Duration) {
	e.check(server)
	e.do(func() { e.cluster.Lag(server, d) })
}

// SetClockRate models a clock that runs fast or slow: from now on all timers of
// the server, its ticks and the sessions that it expires, run at the rate. It
// panics unless the rate is from 0.01 to 100; 1 undoes it.
func (e *Ensemble) SetClockRate(server int, rate float64) {
	e.check(server)
	if !(rate >= 0.01 && rate <= 100) {
		panic(fmt.Sprintf("zktest: clock rate %v", rate))
	}
	e.do(func() { e.cluster.ClockRate(server, rate) })
}

// SetExpirerPace models a leader whose log takes its bytes slowly, or that
// expires tens of thousands of sessions at once. At each tick a leader takes all
// sessions whose time is over. Then it marks and closes one after another, in an
// order drawn from the seed. From now on the server takes d for each, between the
// two, as it writes to its log there. A session that is taken and not yet marked
// still answers requests, heartbeats among them, and is closed all the same. 0
// undoes it: all that are taken are closed at once.
//
// It panics if d is negative.
func (e *Ensemble) SetExpirerPace(server int, d time.Duration) {
	e.check(server)
	if d < 0 {
		panic(fmt.Sprintf("zktest: expirer pace %v", d))
	}
	e.do(func() { e.cluster.Pace(server, d) })
}

// Expire makes the leader close a session as if its timeout had passed. The
// error is ErrNoLeader while there is none; without a quorum the session is
// closing but is not gone.
func (e *Ensemble) Expire(session int64) error {
	err := ErrClosed
	e.do(func() { err = e.cluster.Expire(session) })
	return err
}

// ElectLeader models a change of leader: the leader steps down, which closes
// the connections of all clients, and after ElectionTime the server is elected
// if its log allows it, or else another.
func (e *Ensemble) ElectLeader(server int) {
	e.check(server)
	e.do(func() { e.cluster.Elect(server) })
}

// Leader returns the index of the server that leads a majority, or -1. A leader
// that has not noticed that it was deposed is none.
func (e *Ensemble) Leader() int {
	l := -1
	e.do(func() { l = e.cluster.Leader() })
	return l
}

// Ready reports whether all servers that are not killed serve under one leader.
func (e *Ensemble) Ready() bool {
	ready := false
	e.do(func() { ready = e.cluster.Ready() })
	return ready
}

// A Fate is what happens to a request that a [Rule] picks.
type Fate = quorum.Fate

// The fates of a request. After one without a reply the client of a connection
// that stays waits for ever, as the server sends it no other sign.
const (
	DropRequest        = quorum.DropRequest        // the server never sees it; the connection stays
	CloseBeforeRequest = quorum.CloseBeforeRequest // the connection is closed and it is not processed
	DropReply          = quorum.DropReply          // it is processed; the reply is lost, the connection stays
	CloseBeforeReply   = quorum.CloseBeforeReply   // it is processed; the connection is closed instead of the reply
	DelayRequest       = quorum.DelayRequest       // it, and all behind it on the connection, is processed later
	DelayReply         = quorum.DelayReply         // its reply, and all behind it on the connection, is sent later

	// The server refuses it with THROTTLEDOP (-127), as one does whose queue is
	// longer than zookeeper.throttled_op_wait_time. It keeps its session alive at
	// that server all the same, and is answered in its turn. Requests that
	// authenticate, open or close a session are never refused.
	ThrottleRequest = quorum.ThrottleRequest
)

// A Rule picks requests of clients by their operation, path and number.
type Rule struct {
	Op      string // as in ZooKeeper's sources: "create", "getChildren2", "multi"; "" is any but ping
	Path    string // pattern, as for path.Match, of the first path in the request; "" is any
	Server  int    // one more than its index; 0 is any
	Session int64  // 0 is any
	Skip    int    // how many of those are let through first
	Count   int    // how many are picked then; 0 is 1, negative is all
	Fate    Fate
	Delay   time.Duration // of DelayRequest and DelayReply
}

// An Injection is a rule at work.
type Injection struct {
	e *Ensemble
	r *quorum.Rule
}

// Inject puts a rule to work, behind those there are; the first that picks a
// request decides its fate. It panics where no client asks for such an
// operation.
func (e *Ensemble) Inject(r Rule) *Injection {
	q := &quorum.Rule{
		Any: r.Op == "", Pattern: r.Path, Server: r.Server - 1, Session: r.Session,
		Skip: r.Skip, Count: max(0, r.Count), Fate: r.Fate, Delay: r.Delay,
	}
	if r.Count == 0 {
		q.Count = 1
	}
	if !q.Any {
		op, ok := wire.ParseOp(r.Op)
		if !ok {
			panic(fmt.Sprintf("zktest: no operation %q", r.Op))
		}
		q.Op = op
	}
	e.do(func() { e.cluster.AddRule(q) })
	return &Injection{e, q}
}

// Fired returns how many requests the rule has picked.
func (i *Injection) Fired() int {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	return i.r.Fired
}

// Remove takes the rule away.
func (i *Injection) Remove() { i.e.do(func() { i.e.cluster.RemoveRule(i.r) }) }
