package zktest

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/quorum"
)

// ErrNoLeader means that a fault needs a leader and there is none. Retry when Leader no longer
// returns -1.
var ErrNoLeader = quorum.ErrNoLeader

// check panics if one of the servers does not exist.
func (e *Ensemble) check(servers ...int) {
	for _, i := range servers {
		if i < 0 || i >= e.opts.Servers {
			panic(fmt.Sprintf("zktest: server %d does not exist: there are %d", i, e.opts.Servers))
		}
	}
}

// Kill models kill -9 of a server: its connections to clients and to other
// servers end at once, and connections to it are refused. After Start it has
// everything that is in its log, including transactions that are not committed.
// If the server is down, Kill does nothing.
//
// Over TCP the port stays reserved. On Linux it refuses connections. On other systems it accepts a
// connection and resets it.
func (e *Ensemble) Kill(server int) {
	e.check(server)
	e.do(func() {
		e.cluster.Kill(server)
		if e.opts.TCP {
			e.ports[server].refuse()
		}
	})
}

// Wipe models a replaced disk: a server that is down loses everything that it has stored. After
// Start it is like a new server. A write that the wiped server had acknowledged is safe as long as
// a majority of the other servers has that write. If the server runs, Wipe does nothing.
func (e *Ensemble) Wipe(server int) {
	e.check(server)
	e.do(func() { e.cluster.Wipe(server) })
}

// SetSequence makes n the number of the next sequential child of path, as if n such children had
// been created before. After the number 2147483647, no more sequential children can be created.
// SetSequence is a write by the leader. It reports whether there is a leader and the leader has a
// node at path. Without a quorum it has no effect. A create that a client sends at the same time
// may be applied before SetSequence.
func (e *Ensemble) SetSequence(path string, n int32) (found bool) {
	e.do(func() { found = e.cluster.SetSequence(path, n) })
	return found
}

// Start models the start of a server that was killed. The server serves once it
// has joined a leader, which takes at least ElectionTime.
//
// Start panics if it cannot listen on the server's address because another process has taken the
// address in the meantime. On Linux, a process can do this only with the socket option
// SO_REUSEADDR.
func (e *Ensemble) Start(server int) {
	e.check(server)
	var err error
	e.do(func() {
		if err = e.listen(server); err == nil {
			e.cluster.Start(server)
		}
	})
	if err != nil {
		panic(fmt.Sprintf("zktest: server %d: %v", server, err))
	}
}

// Pause models a long garbage collection, or SIGSTOP: a server does nothing,
// and no other process is notified. Its connections stay open, messages to it
// wait, and it can be dialed.
func (e *Ensemble) Pause(server int) {
	e.check(server)
	e.do(func() { e.cluster.Pause(server) })
}

// Resume lets a paused server continue. The server processes the messages that wait, including
// those of clients that have closed their connections meanwhile, and fires its overdue timers. The
// seed decides whether the messages or the timers come first. A leader that was deposed meanwhile
// may still answer reads until it notices that it was deposed.
func (e *Ensemble) Resume(server int) {
	e.check(server)
	e.do(func() { e.cluster.Resume(server) })
}

// A Link identifies the packets that one server sends to another, by the indices of both servers.
type Link struct{ From, To int }

// Cut models a network that drops the packets of some links between servers. Clients can still
// reach every server. TCP retransmits the packets, so they wait until the link is restored. If a
// server receives nothing from another server for SyncLimit ticks, it gives up the connection to
// that server, together with the packets that wait on the connection. Until then an isolated
// follower answers pings and reads, and an isolated leader also answers sync.
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

// Mend undoes the cuts of the given links, or all cuts if no link is given. A link on which packets
// wait stays silent until its sender's retransmission timer fires. Then all waiting packets arrive,
// in order. A link on which no packet waits works at once.
//
// The timer starts with the first packet that waits. It fires after [Options.Retransmission]. From
// then on its interval doubles each time, up to two minutes. With the default of 0.2 s, it fires
// 0.2, 0.6, 1.4, 3.0, 6.2 s and so on after its start. Each direction has its own timer. So after a
// partition one direction may work seconds before the other.
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

// HeldBack returns the number of packets that have had to wait for a cut link
// so far. If the number does not grow during a cut, the cut had no effect.
func (e *Ensemble) HeldBack() int {
	n := 0
	e.do(func() { n = e.cluster.HeldBack() })
	return n
}

// DelayLink models a slow network between servers: from now on, each packet of the link takes the
// time d to arrive. Packets keep their order. 0 undoes the fault. A server needs one round trip to
// join its leader, so the delays of both directions also delay the joining.
//
// On a link from a leader to its follower, DelayLink also models a follower that reads slowly. One
// thread of the follower receives commits and answers pings, and these answers report the active
// sessions. So commits and reports are late by d. The follower still forwards requests without
// delay.
func (e *Ensemble) DelayLink(l Link, d time.Duration) {
	e.check(l.From, l.To)
	e.do(func() { e.cluster.Delay(l.From, l.To, d) })
}

// Lag models a replica that is behind: from now on the server applies committed transactions, also
// those of its own clients, with a delay of d. It votes and acknowledges without delay. 0 undoes
// the fault.
//
// A sync at a follower waits until the follower has applied all transactions that were committed
// before the sync. A leader answers a sync of its own clients at once, like a read, because
// ZooKeeper's leader does so too. So if the leader lags, a read after a sync can be as stale as a
// read without a sync. Only a read after a write of the same session is fresh.
func (e *Ensemble) Lag(server int, d time.Duration) {
	e.check(server)
	e.do(func() { e.cluster.Lag(server, d) })
}

// SetClockRate models a clock that runs fast or slow: from now on all timers of the server,
// including its ticks and session timeouts, run at this rate. 1 undoes the fault. SetClockRate
// panics unless the rate is from 0.01 to 100.
func (e *Ensemble) SetClockRate(server int, rate float64) {
	e.check(server)
	if !(rate >= 0.01 && rate <= 100) {
		panic(fmt.Sprintf("zktest: clock rate is %v: must be 0.01 to 100", rate))
	}
	e.do(func() { e.cluster.ClockRate(server, rate) })
}

// SetExpirerPace models a leader whose log accepts bytes slowly, or a leader that expires tens of
// thousands of sessions at once.
//
// At each tick a leader collects all sessions whose timeout has passed. Then it deals with one
// session after another, in an order drawn from the seed: it marks the session as closing, and
// closes it. From now on the server waits d between the mark and the close. A real server spends
// this time on writing to its log. Until a collected session is marked, it can still send requests,
// including heartbeats, and receives replies, but it is closed nevertheless. If d is 0, the fault
// is undone, and all collected sessions are closed at once.
//
// It panics if d is negative.
func (e *Ensemble) SetExpirerPace(server int, d time.Duration) {
	e.check(server)
	if d < 0 {
		panic(fmt.Sprintf("zktest: expirer pace is %v: must not be negative", d))
	}
	e.do(func() { e.cluster.Pace(server, d) })
}

// DelayPings models a leader whose ping loop is blocked while its other threads continue, for
// example because the loop writes to a log that accepts no bytes. From now on the server, as a
// leader, waits for half a tick plus d between two rounds of pings. Followers report the activity
// of sessions in their answers to pings, so these reports are late too. 0 undoes the fault.
//
// It panics if d is negative.
func (e *Ensemble) DelayPings(server int, d time.Duration) {
	e.check(server)
	if d < 0 {
		panic(fmt.Sprintf("zktest: delay of pings is %v: must not be negative", d))
	}
	e.do(func() { e.cluster.DelayPings(server, d) })
}

// Expire makes the leader close a session as if its timeout had passed. It returns ErrNoLeader if
// there is no leader, and ErrClosed if the ensemble is closed. If the leader cannot reach a
// majority, it marks the session as closing, but cannot end it.
func (e *Ensemble) Expire(session int64) error {
	err := ErrClosed
	e.do(func() { err = e.cluster.Expire(session) })
	return err
}

// ElectLeader models a change of leader: the leader steps down, which closes
// the connections of all clients. After ElectionTime the given server is
// elected. If its log does not allow this, another server is elected.
func (e *Ensemble) ElectLeader(server int) {
	e.check(server)
	e.do(func() { e.cluster.Elect(server) })
}

// Leader returns the index of the server that leads a majority, or -1. A deposed leader does not
// count, even if it has not noticed yet that it was deposed.
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

// A Fate is the fault for a request that a [Rule] selects.
type Fate = quorum.Fate

// The fates of a request. After DropRequest and DropReply the connection stays open, and the client
// waits forever, because the server never sends a reply.
const (
	// The server never receives the request; the connection stays open.
	DropRequest = quorum.DropRequest
	// The connection is closed and the request is not processed.
	CloseBeforeRequest = quorum.CloseBeforeRequest
	// The request is processed; the reply is lost and the connection stays open.
	DropReply = quorum.DropReply
	// The request is processed; the connection is closed instead of a reply.
	CloseBeforeReply = quorum.CloseBeforeReply
	// The request, and all requests after it on the connection, are processed
	// later.
	DelayRequest = quorum.DelayRequest
	// The reply, and all replies after it on the connection, are sent later.
	DelayReply = quorum.DelayReply

	// The server refuses the request with the error THROTTLEDOP (-127). A ZooKeeper server does
	// this if a request has waited in its queue for longer than zookeeper.throttled_op_wait_time.
	// The refused request still keeps its session alive at this server, and the client receives the
	// error in the order of its requests. The server never refuses a ping, or a request that
	// authenticates, opens a session or closes a session.
	ThrottleRequest = quorum.ThrottleRequest
)

// A Rule selects requests of clients. A request matches if it has the operation, path, server and
// session of the rule. Of the requests that match, the rule skips the first Skip, and selects the
// next Count.
type Rule struct {
	// Op is the name of the operation in ZooKeeper's sources, for example "create", "getChildren2"
	// or "multi". An empty Op matches every request except pings and requests with a negative xid.
	// Clients use negative xids for auth and setWatches.
	Op      string
	Path    string // pattern for the first path in the request, as in path.Match; "" is any
	Server  int    // index of the server plus one; 0 is any
	Session int64  // 0 is any
	Skip    int    // number of matching requests to let through first
	Count   int    // number of requests to select after those; 0 is 1, negative is all
	Fate    Fate
	Delay   time.Duration // for DelayRequest and DelayReply
}

// An Injection is an active rule.
type Injection struct {
	e *Ensemble
	r *quorum.Rule
}

// Inject activates a rule. The rule comes after those that are already active. The first rule that
// selects a request decides its fate. Inject panics if clients never send the operation.
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
			panic(fmt.Sprintf("zktest: clients have no operation %q", r.Op))
		}
		q.Op = op
	}
	e.do(func() { e.cluster.AddRule(q) })
	return &Injection{e, q}
}

// Fired returns the number of requests that the rule has selected.
func (i *Injection) Fired() int {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	return i.r.Fired
}

// Remove deactivates the rule.
func (i *Injection) Remove() { i.e.do(func() { i.e.cluster.RemoveRule(i.r) }) }
