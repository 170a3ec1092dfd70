package session

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// This file replays timelines on the servers of package zktest. A timeline is a sequence of events
// that ends with a session that was closed while its lease stood. The search (lease_search_test.go)
// finds such timelines if it drops an assumption of the lease, or if it replaces the rule of the
// lease by a weaker one. In this file, each timeline has a script, which sends the packets of the
// timeline and breaks the servers. A replay runs a script and computes the lease with the type
// `lease`. The replay breaks the lease if a leader closed the session while this lease stood.
//
// The clock of a leader decides when the leader sends PINGs and expires sessions. So each script
// runs at many phases of that clock, and at least one of these runs must break the lease. With all
// assumptions and the unchanged rule, no run is allowed to break the lease.

const (
	replayT    = 6 * time.Second
	replayStep = 100 * time.Millisecond // between two phases
)

// A replay is one run of a script.
type replay struct {
	t      *testing.T
	e      *zktest.Ensemble
	leader int
	at     int // the follower that the client is connected to
	began  time.Time

	timeout, tick time.Duration // of the lease
	margin        bool          // the lease ends a margin later
	byHeader      bool          // a multi counts although its parts say that the session is closing
	keepKept      bool          // a new connection keeps what a sync proved on the previous connection
	times         func(sent, answered time.Time) (time.Time, time.Time)
	changed       func(l *lease, p proof, sent, answered time.Time)

	mu      sync.Mutex
	conn    net.Conn
	id      int64
	secret  []byte // the password of the session
	lease   lease
	waiting map[int32]packet
	xid     int32
	last    time.Time // the latest deadline
}

// connect opens a connection to a server. The first call creates the session of the replay. Later
// calls resume the session, unless it has ended.
func (r *replay) connect(server int) {
	r.t.Helper()
	if r.conn != nil {
		r.conn.Close()
		r.lease.disconnect()
	}
	conn, err := r.e.DialContext(r.t.Context(), "tcp", r.e.Servers()[server])
	must(r.t, err)
	sent := time.Now()
	_, err = conn.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: int32(r.timeout / time.Millisecond), SessionID: r.id, Password: r.secret}))
	must(r.t, err)
	frame, err := readFrame(conn)
	must(r.t, err)
	var response wire.ConnectResponse
	if _, err := wire.Decode(frame, &response); err != nil || response.SessionID == 0 && r.id == 0 {
		r.t.Fatalf("handshake at server %d: got session %#x, error %v; want a session",
			server, response.SessionID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.conn, r.waiting = server, conn, make(map[int32]packet)
	if response.SessionID == 0 {
		return
	}
	kept := r.lease.kept
	r.lease.restart(sent, time.Duration(response.Timeout)*time.Millisecond, r.tick, r.id == 0)
	r.id, r.secret = response.SessionID, response.Password
	if r.keepKept {
		r.lease.kept = times.Later(r.lease.kept, kept)
	}
	r.note()
	go r.receive(conn)
}

func readFrame(conn net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(conn, frame)
	return frame, err
}

// receive reads the answers of the server and reports them to the lease.
func (r *replay) receive(conn net.Conn) {
	for {
		frame, err := readFrame(conn)
		if err != nil {
			return
		}
		h, body, err := wire.CutReply(frame)
		if err == nil {
			r.answered(h, body)
		}
	}
}

func (r *replay) answered(h wire.ReplyHeader, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.waiting[h.Xid]
	if !ok {
		return
	}
	delete(r.waiting, h.Xid)
	l, sent, now, proves := &r.lease, p.sent, time.Now(), proofOf(p.op, h.Err, body)
	if r.byHeader && p.op == wire.OpMulti && h.Err == 0 {
		proves = proofMajority
	}
	if proves == proofNone {
		return
	}
	if r.times != nil {
		l.activity(r.times(sent, now))
	} else {
		l.activity(sent, now)
	}
	switch proves {
	case proofLeader:
		l.reached(sent, now)
	case proofMajority:
		l.write(sent, now, h.Zxid>>32)
	}
	if r.changed != nil {
		r.changed(l, proves, sent, now)
	}
	r.note()
}

// The method `note` records the lease's deadline if it is the latest so far.
func (r *replay) note() { r.last = times.Later(r.last, r.lease.deadline) }

// The method `until` waits, in virtual time, until d after the beginning of the session.
func (r *replay) until(d time.Duration) { <-time.After(time.Until(r.began.Add(d))) }

// send sends a packet at the given time, counted from the beginning of the session.
func (r *replay) send(at time.Duration, op wire.Op) {
	r.until(at)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.xid++
	h := &wire.RequestHeader{Xid: r.xid, Op: op}
	var frame []byte
	switch op {
	case wire.OpPing:
		h.Xid = wire.XidPing
		frame = wire.AppendFrame(nil, h)
	case wire.OpSync:
		frame = wire.AppendFrame(nil, h, &wire.Path{Path: "/"})
	default:
		check := wire.MultiOp{Op: wire.OpCheck, Request: &wire.PathVersion{Path: "/", Version: AnyVersion}}
		frame = wire.AppendFrame(nil, h, &wire.MultiRequest{Ops: []wire.MultiOp{check}})
	}
	r.waiting[h.Xid] = packet{op: op, sent: time.Now()}
	r.conn.Write(frame) // if this fails, a server has closed the connection: the packet is lost
}

func (r *replay) ping(at time.Duration)  { r.send(at, wire.OpPing) }
func (r *replay) sync(at time.Duration)  { r.send(at, wire.OpSync) }
func (r *replay) write(at time.Duration) { r.send(at, wire.OpMulti) }

// The method `cut` cuts the client's follower off from the other servers.
func (r *replay) cut(at time.Duration) {
	r.until(at)
	r.e.Isolate(r.at)
}

// The method `closed` returns when a leader closed the session, or the zero time if none did.
func (r *replay) closed() time.Time {
	for i := range r.e.Servers() {
		var log bytes.Buffer
		must(r.t, r.e.WriteLog(i, &log))
		for t, err := range txnlog.Read(&log) {
			must(r.t, err)
			if t.Op == wire.OpCloseSession && t.Session == r.id {
				return time.UnixMilli(t.Time)
			}
		}
	}
	return time.Time{}
}

// The method `overlap` returns for how long the lease stood after a leader had closed the session.
// The result is negative if the lease ended first, and 0 if no leader closed the session.
func (r *replay) overlap() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.last
	if r.margin {
		end = end.Add(r.lease.margin())
	}
	closed := r.closed()
	if closed.IsZero() {
		return 0
	}
	return end.Sub(closed)
}

// The method `stall` makes the leader's expirer stop halfway. When sessions are due the next time,
// the expirer removes all of them from the leader's table, marks the first of them as closing, and
// then stops.
//
// If `decoy` is true, stall also opens a second session, the decoy, on the given server. If the
// expirer marks the decoy first, it stops before it marks the session of the replay. That session
// is then removed but not marked, so the leader still answers its requests until the expirer
// continues.
func (r *replay) stall(server int, decoy bool) {
	r.e.SetExpirerPace(r.leader, time.Hour)
	if decoy {
		conn, err := r.e.DialContext(r.t.Context(), "tcp", r.e.Servers()[server])
		must(r.t, err)
		_, err = conn.Write(wire.AppendFrame(nil, &wire.ConnectRequest{Timeout: int32(replayT / time.Millisecond), Password: make([]byte, 16)}))
		must(r.t, err)
		_, err = readFrame(conn)
		must(r.t, err)
	}
}

// The method `flow` lets the leader's expirer continue.
func (r *replay) flow(at time.Duration) {
	r.until(at)
	r.e.SetExpirerPace(r.leader, 0)
}

// depose cuts off the client's server, which is the leader. The other servers restart, and so elect
// another leader at once.
func (r *replay) depose(at time.Duration) {
	r.cut(at)
	for i := range r.e.Servers() {
		if i != r.at {
			r.e.Kill(i)
			r.e.Start(i)
		}
	}
}

const milli = time.Millisecond

// The function `forgotten` returns a script in which the client's follower possibly never reports a
// ping to the leader. The client sends the ping at the time `a`, a sync at `j` and a write at `k`.
// Then the follower is cut off from the other servers, perhaps before it has reported the ping.
func forgotten(a, j, k time.Duration) func(*replay) {
	return func(r *replay) {
		r.ping(a)
		r.sync(j)
		r.write(k)
		r.cut(k + 50*milli)
	}
}

// The function `revived` is a script in which the client is silent until a leader has removed the
// session from its table to expire it. Then the client sends a ping, a sync and two writes.
func revived(r *replay) {
	r.stall(r.at, true)
	r.ping(9050 * milli)
	r.sync(10300 * milli)
	r.write(10400 * milli)
	r.write(11200 * milli)
	r.flow(11300 * milli)
}

// The function `proven` returns a script in which a leader removes the session from its table to
// expire it. Then the client tries to end a probation. The leader's expirer is stalled until the
// time `flows`. If `decoy` is false, the expirer stops after it has marked the session as closing.
// If `decoy` is true, there is also a second session, the decoy. In the runs in which the expirer
// marks the decoy first, the expirer stops before it marks the session of the replay (see `stall`).
func proven(decoy bool, flows time.Duration) func(*replay) {
	return func(r *replay) {
		r.stall(r.at, decoy)
		r.ping(9050 * milli)
		r.sync(10300 * milli)
		r.write(10400 * milli)
		for at := 11300 * milli; at < 16400*milli; at += 1000 * milli {
			if flows <= at {
				r.flow(flows)
			}
			r.sync(at)
		}
		r.write(16500 * milli)
		r.flow(16550 * milli)
	}
}

// The function `hasty` is a script in which the client sends two writes after a leader has removed
// the session from its table to expire it. The second write is sent two thirds of a timeout after
// the first.
func hasty(r *replay) {
	r.stall(r.at, true)
	r.ping(9050 * milli)
	r.sync(10300 * milli)
	r.write(10400 * milli)
	r.sync(11500 * milli)
	r.sync(13000 * milli)
	r.write(14450 * milli)
	r.flow(14500 * milli)
}

// The function `deposed` is the script of a leader that is cut off. The other servers restart, and
// so elect another leader at once. The client stays with the old leader.
func deposed(r *replay) {
	r.depose(100 * milli)
	for at := 500 * milli; at < 15*time.Second; at += 500 * milli {
		r.sync(at)
	}
}

// The function `moved` is the script of a client that stays with a deposed leader. The deposed
// leader answers the client's syncs. The next leader has not received these syncs, and removes the
// session from its table to expire it. Then the client connects to the next leader and writes.
func moved(r *replay) {
	r.depose(100 * milli)
	r.until(400 * milli)
	r.leader = r.e.Leader()
	r.stall(r.leader, true)
	for at := 500 * milli; at < 5500*milli; at += 500 * milli {
		r.sync(at)
	}
	r.until(8500 * milli)
	r.connect(r.leader)
	r.write(8550 * milli)
	r.flow(8600 * milli)
}

// A counterexample has a script and a change. The change drops an assumption or replaces the rule
// by another one. If the script runs with the change, a session is closed while its lease stands.
// If the script runs without the change, this does not happen.
type counterexample struct {
	name    string
	tick    time.Duration // of the servers; 0 means 2 s
	leading bool          // the client is connected to the leader
	drop    func(*replay) // drops the assumption, or changes the rule
	keep    func(*replay) // prepares the runs without the change; nil prepares nothing
	script  func(*replay)
	prompt  bool          // a run counts only if the session is closed within T of its removal (A7)
	kept    func(*replay) // the script of the runs without the change; nil means the field `script`
}

func counterexamples() []counterexample {
	idle := func(*replay) {}
	revive := func(since func(l *lease, answered time.Time)) func(*replay) {
		return func(r *replay) {
			r.changed = func(l *lease, p proof, _, answered time.Time) {
				if p == proofMajority && l.probation.since.Equal(answered) {
					since(l, answered)
				}
			}
		}
	}
	return []counterexample{
		{name: "A1 the clock of the leader is fast", script: idle,
			drop: func(r *replay) { r.e.SetClockRate(r.leader, 1.1) },
			keep: func(r *replay) { r.e.SetClockRate(r.leader, 1.04) }},
		{name: "A2 a PING is late", script: forgotten(4000*milli, 5200*milli, 5300*milli),
			drop: func(r *replay) { r.e.DelayPings(r.leader, 3*time.Second) },
			keep: func(r *replay) { r.e.DelayPings(r.leader, 100*milli) }},
		{name: "A4 the tick is longer than the rule knows", tick: 6 * time.Second, script: forgotten(4000*milli, 5200*milli, 5300*milli),
			drop: func(r *replay) { r.tick = time.Second }},
		{name: "A7 the expirer is slow", drop: idle, script: proven(true, 16550*milli), kept: proven(true, 12000*milli)},
		{name: "half a period", script: forgotten(4000*milli, 4450*milli, 4500*milli),
			drop: func(r *replay) { r.tick /= 4 }},
		{name: "no epsilon", script: forgotten(4000*milli, 5000*milli, 5020*milli),
			drop: func(r *replay) { r.tick -= 300 * milli; r.e.DelayPings(r.leader, 140*milli) },
			keep: func(r *replay) { r.e.DelayPings(r.leader, 140*milli) }},
		{name: "no margin", leading: true, script: idle,
			drop: func(r *replay) { r.e.SetClockRate(r.leader, 1.04); r.margin = true },
			keep: func(r *replay) { r.e.SetClockRate(r.leader, 1.04) }},
		{name: "an activity counts before its answer",
			drop: func(r *replay) {
				r.times = func(sent, _ time.Time) (time.Time, time.Time) { return sent, sent }
			},
			script: func(r *replay) {
				r.e.Inject(zktest.Rule{Op: "ping", Fate: zktest.DelayRequest, Delay: 1100 * milli})
				forgotten(4000*milli, 5160*milli, 5200*milli)(r)
			}},
		{name: "an activity counts as sent when it was answered",
			drop: func(r *replay) {
				r.times = func(_, answered time.Time) (time.Time, time.Time) { return answered, answered }
			},
			script: func(r *replay) {
				r.e.Inject(zktest.Rule{Op: "ping", Fate: zktest.DelayReply, Delay: 2800 * milli})
				forgotten(200*milli, 4200*milli, 4300*milli)(r)
			}},
		{name: "no probation", script: revived,
			drop: revive(func(l *lease, answered time.Time) { l.probation.since = answered.Add(-replayT) })},
		{name: "a probation of an eighth of the timeout", script: revived,
			drop: revive(func(l *lease, answered time.Time) { l.probation.since = answered.Add(replayT/8 - replayT) })},
		{name: "a probation of two thirds of the timeout", script: hasty, prompt: true,
			drop: revive(func(l *lease, answered time.Time) { l.probation.since = answered.Add(-replayT / 3) })},
		{name: "any write revives a lease", script: revived, drop: func(r *replay) {
			r.changed = func(l *lease, p proof, sent, _ time.Time) {
				if p == proofMajority {
					l.deadline = times.Later(l.deadline, l.keptBy(l.latestKnown(sent)))
				}
			}
		}},
		{name: "evidence of the earlier connection counts", leading: true, script: moved, drop: func(r *replay) { r.keepKept = true }},
		{name: "a sync is enough", leading: true, script: deposed, drop: func(r *replay) {
			r.changed = func(l *lease, _ proof, _, _ time.Time) { l.deadline = times.Later(l.deadline, l.kept) }
		}},
		{name: "a multi counts by its header", script: proven(false, 16550*milli), drop: func(r *replay) { r.byHeader = true }},
	}
}

// run returns for how long the lease stood after the session was closed.
func (c counterexample) run(t *testing.T, seed uint64, phase time.Duration, change, script func(*replay)) (overlap time.Duration) {
	virtual.Test(t, func(t *testing.T) {
		opts := zktest.Options{Seed: seed, KeepLog: true, TickTime: c.tick}
		if c.tick > replayT/2 {
			opts.MinSessionTimeout = replayT
		}
		e, err := zktest.New(opts)
		must(t, err)
		defer e.Close()
		r := &replay{t: t, e: e, leader: e.Leader(), secret: make([]byte, 16), timeout: replayT, tick: 2 * time.Second}
		if c.tick != 0 {
			r.tick = c.tick
		}
		if change != nil {
			change(r)
		}
		time.Sleep(phase)
		r.began = time.Now()
		server := r.leader
		if !c.leading {
			server = (r.leader + 1) % 3
		}
		r.connect(server)
		script(r)
		r.until(30 * time.Second)
		for _, x := range e.Expiries() {
			if x.Session == r.id && c.prompt && r.closed().Sub(x.Taken) > replayT {
				return
			}
		}
		overlap = r.overlap()
	})
	return overlap
}

// The script of each counterexample leads to a session that is closed while its lease stands, but
// only with the change of that counterexample.
//
// Covers S2.
func TestCounterexamplesOnTheServers(t *testing.T) {
	for _, c := range counterexamples() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kept := c.kept
			if kept == nil {
				kept = c.script
			}
			const seeds = 3
			broken := time.Duration(0)
			for seed := range uint64(seeds) {
				for phase := time.Duration(0); phase < max(c.tick, 2*time.Second); phase += replayStep {
					if overlap := c.run(t, seed, phase, c.keep, kept); overlap > 0 {
						t.Fatalf("seed %d, phase %v: the session was closed %v before its lease ended although nothing was dropped", seed, phase, overlap)
					}
					if broken > 0 {
						continue
					}
					if broken = c.run(t, seed, phase, c.drop, c.script); broken > 0 {
						t.Logf("seed %d, phase %v: the session was closed %v before its lease ended", seed, phase, broken)
					}
				}
			}
			if broken <= 0 {
				t.Errorf("no session was closed while its lease stood with %d seeds, want one",
					seeds)
			}
		})
	}
}

// Assumption A6 says that the quorum does not forget what it acknowledged. Without A6, a lock can
// have two holders. In this test a majority of the servers loses its disks, and with them the
// session that holds the lock.
func TestForgottenSessionSharesALock(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		first := open(t, on(e, 2))
		defer first.Close()
		node, err := first.Create(t.Context(), "/lock", nil, Ephemeral)
		must(t, err)
		h := first.keeper.begin(engine.Node{Path: node})
		must(t, h.Grant(t.Context()))
		e.Kill(2)
		for i := range 2 {
			e.Kill(i)
			e.Wipe(i)
		}
		for i := range 2 {
			e.Start(i)
		}
		second := open(t, on(e, 0, 1))
		defer second.Close()
		_, err = second.Create(t.Context(), "/lock", nil, Ephemeral)
		must(t, err)
		if h.Context().Err() != nil {
			t.Error("the first hold has ended when another session gets the lock, want two holders")
		}
	})
}
