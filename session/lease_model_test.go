package session

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// This file is a model of the servers that docs/decisions/0001-lease.md describes. Leaders have a
// ping loop, a session table and an expirer. Followers have two threads. The connections between
// servers keep the order of messages and guarantee nothing else. A client moves between followers.
// The lease is broken if a leader with a majority closes the session before the time that the lease
// computed.
//
// The assumptions about the servers are parameters of a run, so that a test can show what happens
// if one is false.

// assumptions limit what a run may do.
type assumptions struct {
	pace  float64 // in units of T: longest time from removing an expired session to closing it
	late  float64 // in units of epsilon: how late the leader may queue a PING
	drift float64 // largest difference between the clock rates of leader and client
}

// The variable `assumed` has the assumptions of docs/decisions/0001-lease.md.
var assumed = assumptions{pace: 0.999, late: 1, drift: 0.04}

// A world is one run of the model. Times are measured from the start of the run.
type world struct {
	rand    *rand.Rand
	now     time.Duration
	events  events
	count   int
	T, tick time.Duration
	assume  assumptions
	idles   bool // sometimes nothing is held
	cold    bool // the client runs with NoIdleLease
	rest    int  // how rare faults are; higher is rarer

	leader    *modelLeader // the leader of a majority
	followers [3]*modelFollower
	closed    time.Duration // when the session was closed; 0 if it is open

	// The state of the client.
	at       *modelFollower
	up, down link
	conn     int // number of connections so far
	lease    lease
	beating  bool
	idle     time.Duration // the client holds nothing until this time
	writes   int
	stood    int // number of writes after which the lease stood
	broken   string
}

type modelLeader struct {
	epoch   int64
	rate    float64       // rate of its clock
	paused  time.Duration // its process is paused until then
	expiry  time.Duration // when the session expires, by the leader's clock
	taken   bool          // the expirer has removed the session from the table
	closing bool
}

type modelFollower struct {
	leader   *modelLeader
	out, in  link // to the leader and from it
	touched  bool
	waiting  []*modelPacket // requests, answered in this order
	mainBusy time.Duration  // the thread that reads from the leader is busy until then
}

type modelPacket struct {
	kind  string // "ping", "sync" or "write"
	sent  time.Duration
	epoch int64 // epoch of the leader that answered
	done  bool
	fail  bool
}

// A link delivers messages in order.
type link struct{ last, held time.Duration }

type event struct {
	at  time.Duration
	seq int
	f   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (w *world) do(t time.Duration, f func()) {
	w.count++
	heap.Push(&w.events, event{max(t, w.now), w.count, f})
}

func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rand.Int64N(int64(d) + 1))
}

// send calls f when a message that is sent now over l arrives, usually soon.
func (w *world) send(l *link, f func()) {
	delay := w.upTo(w.T / 500)
	if w.rand.IntN(20) == 0 {
		delay = w.upTo(w.T / 10)
	}
	l.last = max(l.last, l.held, w.now+delay)
	w.do(l.last, f)
}

// The method `hold` delays messages over l for d and for a random additional time of at most d. The
// additional time models a sender that repeats lost messages less and less often during an outage.
func (w *world) hold(l *link, d time.Duration) { l.held = w.now + d + w.upTo(d) }

func clock(t time.Duration) time.Time { return time.Unix(1000, 0).Add(t) }

// run simulates a session for the given number of session timeouts. It stops earlier if the lease
// is broken, or two session timeouts after the session was closed.
func (w *world) run(timeouts int) {
	w.lead()
	for i := range w.followers {
		w.followers[i] = &modelFollower{}
		w.follow(w.followers[i])
	}
	w.at = w.followers[0]
	w.lease.restart(clock(0), w.T, w.tick, true)
	w.client()
	w.pings()
	w.faults()
	for end := time.Duration(timeouts) * w.T; w.now < end && w.broken == "" && (w.closed == 0 || w.now < w.closed+2*w.T); {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.f()
		w.judge()
	}
}

// The method `judge` sets w.broken if the leader of a majority has closed the session before the
// lease's deadline plus one margin. This check is stricter than the rule, which promises only that
// the session is not closed before the deadline.
func (w *world) judge() {
	if w.closed == 0 {
		return
	}
	if d := w.lease.deadline.Add(w.lease.margin()); d.After(clock(w.closed)) {
		w.broken = fmt.Sprintf("closed at %v, %v before the lease's end; now %v", w.closed, d.Sub(clock(w.closed)), w.now)
	}
}

// Leaders.

// lead gives a majority to a new leader, which gives the session a whole new timeout. The old
// leader continues but commits nothing more.
func (w *world) lead() {
	l := &modelLeader{epoch: 1, rate: 1 + w.assume.drift*(2*w.rand.Float64()-1)}
	if w.leader != nil {
		l.epoch = w.leader.epoch + 1
	}
	w.leader = l
	l.expiry = w.bucket(l)
	w.expirer(l)
}

// The method `bucket` returns the time on the clock of l at which l expires the session, if the
// report that l receives now is the last one.
func (w *world) bucket(l *modelLeader) time.Duration {
	return (w.of(l) + w.T + w.tick) / w.tick * w.tick
}

// The method `of` returns the time on the clock of l.
func (w *world) of(l *modelLeader) time.Duration { return time.Duration(float64(w.now) * l.rate) }

// The method `running` calls f as soon as the process of l is not paused.
func (w *world) running(l *modelLeader, f func()) {
	if w.now < l.paused {
		w.do(l.paused+w.upTo(w.T/100), func() { w.running(l, f) })
		return
	}
	f()
}

func (w *world) touch(l *modelLeader) {
	if !l.closing {
		l.expiry = w.bucket(l)
	}
}

// expirer removes the session from the table of l when the session's expiry is due, and some time
// later marks the session as closing. The function runs repeatedly until it has removed the
// session.
func (w *world) expirer(l *modelLeader) {
	w.running(l, func() {
		if w.of(l) >= l.expiry && !l.taken {
			l.taken = true
			w.do(w.now+w.upTo(time.Duration(w.assume.pace*float64(w.T))), func() {
				w.running(l, func() {
					l.closing = true
					if l == w.leader && w.closed == 0 {
						w.closed = w.now
					}
				})
			})
			return
		}
		due := time.Duration(float64(l.expiry)/l.rate) + time.Millisecond
		w.do(max(due, w.now+w.tick/10), func() { w.expirer(l) })
	})
}

// The method `request` handles a request that a follower forwarded to the leader.
func (w *world) request(f *modelFollower, p *modelPacket) {
	l := f.leader
	p.fail, p.epoch = l.closing, l.epoch
	answer := func() { w.send(&f.in, func() { w.mainThread(f, func() { p.done = true; w.answer(f) }) }) }
	if p.kind == "sync" {
		answer()
		return
	}
	if l == w.leader { // the majority accepts the proposal, so it is committed whatever follows
		w.do(w.now+w.upTo(w.T/100), func() { w.running(l, answer) })
	}
}

// Followers.

// follow makes f a follower of the leader. If the client is connected to f, its connection closes.
func (w *world) follow(f *modelFollower) {
	if f.leader == w.leader {
		return
	}
	*f = modelFollower{leader: w.leader}
	w.pingLoop(f, f.leader)
	if f == w.at {
		w.reconnect()
	}
}

// stillFollowing calls g at t, unless f has changed its leader by then.
func (w *world) stillFollowing(f *modelFollower, t time.Duration, g func()) {
	l := f.leader
	w.do(t, func() {
		if f.leader == l {
			g()
		}
	})
}

// pingLoop is the loop in which l sends PINGs to f. After a pause of l, this loop runs before any
// other work of l, by assumption A2 of docs/decisions/0001-lease.md.
func (w *world) pingLoop(f *modelFollower, l *modelLeader) {
	if w.now < l.paused {
		w.stillFollowing(f, l.paused, func() { w.pingLoop(f, l) })
		return
	}
	w.send(&f.in, func() {
		if f.leader == l {
			w.mainThread(f, func() { w.pong(f) })
		}
	})
	late := w.upTo(time.Duration(w.assume.late * float64(w.lease.epsilon())))
	w.stillFollowing(f, w.now+w.tick/2+late, func() { w.pingLoop(f, l) })
}

// mainThread calls g on the thread of f that reads from the leader, after all earlier work of that
// thread.
func (w *world) mainThread(f *modelFollower, g func()) {
	if w.now < f.mainBusy {
		f.in.last = max(f.in.last, f.mainBusy)
		w.stillFollowing(f, f.mainBusy, func() { w.mainThread(f, g) })
		return
	}
	g()
}

func (w *world) pong(f *modelFollower) {
	touched, l := f.touched, f.leader
	f.touched = false
	w.send(&f.out, func() {
		w.running(l, func() {
			if touched {
				w.touch(l)
			}
		})
	})
}

func (w *world) arrive(f *modelFollower, p *modelPacket) {
	f.touched = true
	f.waiting = append(f.waiting, p)
	if p.kind == "ping" {
		p.done = true
		w.answer(f)
		return
	}
	l := f.leader
	w.send(&f.out, func() {
		w.running(l, func() {
			if f.leader == l {
				w.request(f, p)
			}
		})
	})
}

func (w *world) answer(f *modelFollower) {
	for len(f.waiting) > 0 && f.waiting[0].done {
		p, conn := f.waiting[0], w.conn
		f.waiting = f.waiting[1:]
		w.send(&w.down, func() {
			if conn == w.conn {
				w.reply(p)
			}
		})
	}
}

// The client.

func (w *world) ask(kind string) {
	if !w.lease.connected {
		return
	}
	p, conn, f := &modelPacket{kind: kind, sent: w.now}, w.conn, w.at
	w.send(&w.up, func() {
		if conn == w.conn {
			w.arrive(f, p)
		}
	})
}

func (w *world) reply(p *modelPacket) {
	l, sent, now := &w.lease, clock(p.sent), clock(w.now)
	if p.kind != "ping" {
		w.beating = false
	}
	if p.fail && p.kind != "ping" {
		return
	}
	l.activity(sent, now)
	switch p.kind {
	case "sync":
		l.reached(sent, now)
	case "write":
		l.write(sent, now, p.epoch)
		w.writes++
		if l.stands(now) {
			w.stood++
		}
		// This is the worst moment for cutting off the follower, because the lease was just
		// renewed.
		if w.rand.IntN(10*w.rest) == 0 {
			w.hold(&w.at.out, w.upTo(2*w.T))
		}
	}
}

// The method `client` sends the requests that renew the lease. While nothing is held, it sends
// fewer of them.
func (w *world) client() {
	holding := w.now >= w.idle
	if w.lease.connected && !w.beating && (holding || !w.cold) {
		if due, write := w.lease.renew(clock(w.now), holding); !clock(w.now).Before(due) {
			w.beating = true
			w.ask(map[bool]string{true: "write", false: "sync"}[write])
		}
	}
	if kinds := []string{"sync", "ping", "write"}; w.rand.IntN(100) == 0 {
		if !holding {
			kinds = kinds[:2]
		}
		w.ask(kinds[w.rand.IntN(len(kinds))])
	}
	w.do(w.now+w.T/200+w.upTo(w.T/200), w.client)
}

func (w *world) pings() {
	w.ask("ping")
	every := w.T / 12
	if w.now < w.idle {
		every = w.T / 3
	}
	w.do(w.now+every, w.pings)
}

// reconnect closes the client's connection and opens one to any follower. Answers that have not
// reached the client are lost. Requests that the follower of the old connection has received are
// not lost. The follower of the new connection forwards the handshake to its leader. The connection
// is valid once this leader has confirmed the session.
func (w *world) reconnect() {
	w.conn++
	w.lease.disconnect()
	w.at.waiting, w.beating = nil, false
	conn, sent := w.conn, w.now+w.upTo([]time.Duration{w.T / 50, w.T / 50, w.T * 5 / 4}[w.rand.IntN(3)])
	w.up, w.down = link{}, link{}
	w.do(sent, func() {
		if conn != w.conn {
			return
		}
		w.at = w.followers[w.rand.IntN(len(w.followers))]
		w.at.waiting = nil
		f, l := w.at, w.at.leader
		answer := func(valid bool) {
			w.send(&w.down, func() {
				if conn == w.conn && valid {
					w.lease.restart(clock(sent), w.T, w.tick, false)
				}
			})
		}
		revalidate := func() {
			valid := !l.closing
			w.touch(l)
			w.send(&f.in, func() {
				if f.leader == l {
					w.mainThread(f, func() { answer(valid) })
				}
			})
		}
		w.send(&w.up, func() { // the handshake reaches the leader on f.out, like requests
			w.send(&f.out, func() { w.running(l, revalidate) })
		})
	})
	w.do(sent+w.T, func() { // an unanswered handshake is given up
		if conn == w.conn && !w.lease.connected {
			w.reconnect()
		}
	})
}

// The method `faults` injects faults at random times.
func (w *world) faults() {
	long := w.upTo([]time.Duration{w.T / 4, w.T, 2 * w.T}[w.rand.IntN(3)])
	f := w.at
	switch w.rand.IntN(12) {
	case 0:
		w.hold(&f.out, long)
	case 1:
		w.hold(&f.in, long)
	case 2, 3: // a partition: each direction is restored separately
		w.hold(&f.out, long)
		w.hold(&f.in, long)
	case 4:
		f.mainBusy = max(f.mainBusy, w.now+long)
	case 5:
		f.leader.paused = max(f.leader.paused, w.now+long)
	case 6:
		w.hold(&w.up, long)
	case 7:
		w.hold(&w.down, long)
	case 8:
		w.reconnect()
	case 9, 10:
		w.elect(long)
	}
	if w.idles && w.now > w.idle {
		w.idle = w.now + w.upTo(3*w.T)
	}
	next := []time.Duration{w.T / 20, w.T / 2, 8 * w.T}[w.rand.IntN(3)]
	w.do(w.now+w.upTo(next*time.Duration(w.rest)), w.faults)
}

// elect makes two followers follow another leader now, and the third after the given time. Until
// then the old leader keeps the third follower and answers everything except writes.
func (w *world) elect(while time.Duration) {
	if w.leader.closing {
		return
	}
	w.lead()
	stays := w.rand.IntN(len(w.followers))
	if w.idles && w.rand.IntN(2) == 0 { // the worst case: the client is idle, connected to the old leader
		stays = slices.Index(w.followers[:], w.at)
		while += w.T
		w.idle = w.now + while + w.upTo(w.T/10)
	}
	for i, f := range w.followers {
		if i != stays {
			w.follow(f)
		}
	}
	f := w.followers[stays]
	w.stillFollowing(f, w.now+while, func() { w.follow(f) })
}

func newWorld(seed uint64, idles, cold bool, assume assumptions) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	T := 4 * time.Second
	ticks := []time.Duration{T / 2, T / 2, T / 4, T / 10}
	w := &world{rand: r, T: T, tick: ticks[r.IntN(len(ticks))], idles: idles, cold: cold, assume: assume}
	w.rest = []int{1, 3, 10}[r.IntN(3)]
	w.lease.timeout = T
	return w
}

// In the model, no leader with a majority closes a session while the session's lease stands.
//
// Covers S2.
func TestSessionIsNeverClosedBeforeTheLeaseEnds(t *testing.T) {
	for _, mode := range []struct {
		name        string
		idles, cold bool
	}{
		{name: "held"},
		{name: "idle", idles: true},
		{name: "idle without syncs", idles: true, cold: true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			writes, stood, closed := 0, 0, 0
			for seed := range 20 * *seeds {
				w := newWorld(uint64(seed), mode.idles, mode.cold, assumed)
				w.run(60)
				if w.broken != "" {
					t.Fatalf("seed %d, T %v, tick %v: %s", seed, w.T, w.tick, w.broken)
				}
				writes, stood = writes+w.writes, stood+w.stood
				if w.closed > 0 {
					closed++
				}
			}
			t.Logf("%d writes, the lease stood after %d; %d sessions closed", writes, stood, closed)
			if stood < writes/3 || closed == 0 {
				t.Errorf("the lease stood after %d of %d writes, %d sessions closed; want at least %d and 1",
					stood, writes, closed, writes/3)
			}
		})
	}
}

// If one of the assumptions is false, the model finds a session that is closed while its lease
// stands. The model also finds such a session if all assumptions are true but the rule trusts an
// idle session.
func TestModelNeedsEachAssumption(t *testing.T) {
	for _, test := range []struct {
		name      string
		drop      func(*assumptions)
		trustIdle bool
	}{
		{name: "pace of the expirer", drop: func(a *assumptions) { a.pace = 2 }},
		{name: "PINGs in time", drop: func(a *assumptions) { a.late = 40 }},
		{name: "clock rates", drop: func(a *assumptions) { a.drift = 0.3 }},
		{name: "evidence after idleness", drop: func(*assumptions) {}, trustIdle: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			assume := assumed
			test.drop(&assume)
			const most = 20_000
			for seed := range most {
				w := newWorld(uint64(seed), true, seed%2 == 0 || test.trustIdle, assume)
				w.lease.trustIdle = test.trustIdle
				if w.run(60); w.broken != "" {
					t.Logf("seed %d: %s", seed, w.broken)
					return
				}
			}
			t.Errorf("none of %d sessions was closed while its lease stood, want one", most)
		})
	}
}
