package zktest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `bubble` runs a test on virtual time, with an ensemble whose leader is server 2. The
// settings are ZooKeeper's defaults: tickTime 2 s, syncLimit 5.
func bubble(t *testing.T, f func(t *testing.T, e *zktest.Ensemble)) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t)
		if l := e.Leader(); l != 2 {
			t.Fatalf("server %d leads, want server 2", l)
		}
		f(t, e)
	})
}

func mustCreate(t *testing.T, c *zk.Conn, path string, flags int32) string {
	t.Helper()
	name, err := c.Create(path, nil, flags, open)
	if err != nil {
		t.Fatalf("create %s: %v", path, err)
	}
	return name
}

// In this test a follower is isolated, and the session of its client expires. The follower still
// answers the client, as if the session and its ephemeral node existed. In a real ensemble with the
// settings of this test, two clients held one lock at the same time for 4.3 s because of this.
func TestIsolatedFollowerLies(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		b := connect(t, e, 2, 4*time.Second)
		time.Sleep(700 * time.Millisecond)
		a := dialRawTimeout(t, e, 0, 4000)
		defer a.nc.Close()
		a.create("/e", wire.ModeEphemeral)
		_, _, gone, err := b.ExistsW("/e")
		if err != nil {
			t.Fatal(err)
		}
		cut := time.Now()
		e.Isolate(0)
		var expired, lied time.Duration
		for a.call(wire.OpExists, &wire.PathWatch{Path: "/e"}).Err == wire.OK && a.call(wire.OpPing, nil).Err == wire.OK {
			lied = time.Since(cut)
			time.Sleep(10 * time.Millisecond)
			select {
			case <-gone:
				expired, gone = time.Since(cut), nil
			default:
			}
		}
		if expired < 3*time.Second || expired > 7*time.Second {
			t.Errorf("session expired after %v, want 3s to 7s", expired)
		}
		// The follower gives up 10 s (syncLimit x tickTime) after the last packet from the leader.
		if lied < 8*time.Second || lied > 10*time.Second {
			t.Errorf("follower answered for %v, want 8s to 10s", lied)
		}
		t.Logf("expired after %v, last stale reply after %v", expired, lied)
	})
}

// In this test a client sends a write to an isolated follower. The follower does not answer, and
// closes the connection when it gives up its leader. Until then, it would not answer a ping after
// the write either, because it answers the requests of a session in order.
func TestIsolatedFollowerAnswersNoWrite(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a := connect(t, e, 0, 40*time.Second)
		e.Isolate(0)
		start := time.Now()
		if _, err := a.Create("/w", nil, 0, open); err == nil {
			t.Fatal("a write was acknowledged without a quorum")
		}
		if d := time.Since(start); d < 8*time.Second || d > 10*time.Second {
			t.Errorf("the connection was closed after %v, want 8s to 10s", d)
		}
	})
}

func TestLaggingFollowerIsStaleUntilSync(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 0, 10*time.Second), connect(t, e, 2, 10*time.Second)
		e.Lag(0, time.Second)
		mustCreate(t, b, "/x", 0)
		if ok, _, err := a.Exists("/x"); ok || err != nil {
			t.Fatalf("at the lagging follower, /x exists: %v, error %v; want false, nil", ok, err)
		}
		start := time.Now()
		if _, err := a.Sync("/"); err != nil {
			t.Fatal(err)
		}
		if ok, _, err := a.Exists("/x"); !ok || err != nil {
			t.Fatalf("after sync, /x exists: %v, error %v; want true, nil", ok, err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("sync took %v, want 1s", d)
		}
		start = time.Now()
		mustCreate(t, a, "/y", 0)
		if d := time.Since(start); d != time.Second {
			t.Errorf("a write through the lagging follower took %v, want 1s", d)
		}
	})
}

// A client cannot distinguish a lost reply from a lost request. In both cases its connection is
// closed, but the create has an effect only if the reply was lost.
func TestLostReplyAfterCommit(t *testing.T) {
	for fate, happened := range map[zktest.Fate]bool{zktest.CloseBeforeReply: true, zktest.CloseBeforeRequest: false} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			a, b := connect(t, e, 0, 10*time.Second), connect(t, e, 2, 10*time.Second)
			rule := e.Inject(zktest.Rule{Op: "create", Path: "/l*", Fate: fate})
			mustCreate(t, a, "/other", 0)
			session := a.SessionID()
			if _, err := a.Create("/lost", nil, 0, open); !errors.Is(err, zk.ErrConnectionClosed) {
				t.Fatalf("fate %d: create: got error %v, want ErrConnectionClosed", fate, err)
			}
			if rule.Fired() != 1 {
				t.Errorf("fate %d: the rule fired %d times, want once", fate, rule.Fired())
			}
			if ok, _, _ := b.Exists("/lost"); ok != happened {
				t.Errorf("fate %d: exists: got %v, want %v", fate, ok, happened)
			}
			time.Sleep(5 * time.Second) // go-zookeeper reconnects
			mustCreate(t, a, "/later", 0)
			if got := a.SessionID(); got != session {
				t.Errorf("fate %d: session after the reconnect: got %#x, want %#x resumed",
					fate, got, session)
			}
		})
	}
}

func TestDelayedRequestAndReply(t *testing.T) {
	for _, fate := range []zktest.Fate{zktest.DelayRequest, zktest.DelayReply} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			a, b := connect(t, e, 0, 10*time.Second), connect(t, e, 2, 10*time.Second)
			e.Inject(zktest.Rule{Op: "create", Fate: fate, Delay: time.Second})
			start := time.Now()
			_, _, created, _ := b.ExistsW("/d")
			seen := make(chan time.Duration, 1)
			go func() { <-created; seen <- time.Since(start) }()
			mustCreate(t, a, "/d", 0)
			if d := time.Since(start); d != time.Second {
				t.Errorf("fate %d: create took %v, want 1s", fate, d)
			}
			if d := <-seen; (d == time.Second) != (fate == zktest.DelayRequest) {
				t.Errorf("fate %d: applied after %v, want 1s only for DelayRequest", fate, d)
			}
		})
	}
}

// Inject panics if no client ever sends the operation of the rule, because the fault would never
// happen.
func TestInjectPanicsForWhatIsNoRequest(t *testing.T) {
	panics := func(e *zktest.Ensemble, op string) (panics bool) {
		defer func() { panics = recover() != nil }()
		e.Inject(zktest.Rule{Op: op})
		return false
	}
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		for op, want := range map[string]bool{
			"getdata": true, "notification": true, "error": true, "createSession": true, "deleteContainer": true,
			"": false, "getData": false, "ping": false, "auth": false, "closeSession": false, "setWatches2": false,
		} {
			if got := panics(e, op); got != want {
				t.Errorf("operation %q: panics: got %v, want %v", op, got, want)
			}
		}
	})
}

// In this test the leader is isolated. The majority elects another leader, which accepts writes.
// The old leader still answers reads and sync for some time.
func TestDeposedLeaderAnswersReadsAndSync(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a := dialRaw(t, e, 2)
		a.create("/x", 0)
		start := time.Now()
		e.Isolate(2)
		// Restart both followers, so that they lose their connections to the leader at once. The
		// leader does not notice the restart. Without the restart, the followers would notice the
		// partition no earlier than the leader does.
		for _, i := range []int{0, 1} {
			e.Kill(i)
			e.Start(i)
		}
		for e.Leader() == 2 || e.Leader() < 0 {
			time.Sleep(100 * time.Millisecond)
		}
		elected := time.Since(start)
		if elected > time.Second {
			t.Errorf("a leader was elected after %v, want at most 1s", elected)
		}
		b := dialRaw(t, e, 0)
		b.create("/new", 0)
		b.nc.Close()
		if h := a.call(wire.OpSync, &wire.Path{Path: "/"}); h.Err != wire.OK {
			t.Errorf("sync at the deposed leader: got code %v, want OK", h.Err)
		}
		if h := a.call(wire.OpExists, &wire.PathWatch{Path: "/new"}); h.Err != wire.NoNode {
			t.Errorf("read of a znode of the new leader at the deposed one: got code %v, want NoNode",
				h.Err)
		}
		var last time.Duration
		for {
			if a.call(wire.OpSync, &wire.Path{Path: "/"}).Err != wire.OK {
				break
			}
			last = time.Since(start)
			time.Sleep(10 * time.Millisecond)
		}
		// The isolated leader checks its followers at each tick, and steps down at the first check
		// that fails. A check fails if more than syncLimit ticks have passed since the last packet
		// of the followers, or if the leader's handlers for the followers have timed out.
		if last < 8*time.Second || last > 12*time.Second {
			t.Errorf("sync was answered for %v, want 8s to 12s", last)
		}
		t.Logf("elected after %v, last sync after %v", elected, last)
		e.Mend()
		time.Sleep(10 * time.Second)
		if !e.Ready() {
			t.Error("the ensemble is not ready after Mend")
		}
		d := dialRaw(t, e, 2)
		if h := d.call(wire.OpExists, &wire.PathWatch{Path: "/new"}); h.Err != wire.OK {
			t.Errorf("read after Mend: got code %v, want OK", h.Err)
		}
		a.nc.Close()
		d.nc.Close()
	})
}

// In this test no majority has stored a proposal. The proposal is committed if the next leader has
// received it, and is dropped otherwise.
func TestProposalWithoutQuorum(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			a, b := connect(t, e, 2, 40*time.Second), connect(t, e, 1, 40*time.Second)
			// Server 2 is the leader. It receives no acknowledgements. Its proposal reaches server
			// 1 or no server.
			e.Cut(zktest.Link{From: 0, To: 2}, zktest.Link{From: 1, To: 2}, zktest.Link{From: 2, To: 0})
			if !reaches {
				e.Cut(zktest.Link{From: 2, To: 1})
			}
			if _, err := a.Create("/p", nil, 0, open); err == nil {
				t.Fatalf("proposal reaches the next leader: %v: a write was acknowledged without a quorum",
					reaches)
			}
			e.Kill(2)
			e.Mend()
			for !e.Ready() {
				time.Sleep(100 * time.Millisecond)
			}
			for range 2 {
				var ok bool
				var err error
				for ok, _, err = b.Exists("/p"); err != nil; ok, _, err = b.Exists("/p") {
					time.Sleep(100 * time.Millisecond)
				}
				if ok != reaches {
					t.Errorf("proposal reached the next leader: %v: exists is %v, want the same", reaches, ok)
				}
				e.Start(2) // with the proposal in its log
				time.Sleep(time.Second)
				if !e.Ready() {
					t.Errorf("proposal reached the next leader: %v: the ensemble is not ready 1 s after node 2 was started again",
						reaches)
				}
			}
		})
	}
}

// The leader counts a session's timeout from the last activity that was reported to the leader. It
// expires the session when the timeout has passed, or up to one tick later. A follower reports
// activity every half tick.
func TestExpiryTime(t *testing.T) {
	const tick = 2 * time.Second
	for _, server := range []int{0, 2} {
		for phase := range 8 {
			bubble(t, func(t *testing.T, e *zktest.Ensemble) {
				w := connect(t, e, 1, 40*time.Second)
				time.Sleep(time.Duration(phase) * tick / 8)
				c := dialRawTimeout(t, e, server, 4000)
				last := time.Now()
				start := last
				for ok := true; ok; ok, _, _ = w.Exists("/e") {
					if last == start {
						c.create("/e", 1)
					}
					last = last.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
				d := time.Since(start)
				lo, hi := 4*time.Second, 4*time.Second+tick
				if server == 0 {
					hi += tick / 2
				}
				if d < lo || d > hi+10*time.Millisecond {
					t.Errorf("server %d, phase %d: expired after %v, want %v to %v", server, phase, d, lo, hi)
				}
				c.nc.Close()
			})
		}
	}
}

func TestNewLeaderGivesAFreshTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		c := dialRawTimeout(t, e, 0, 8000)
		c.create("/e", 1)
		c.nc.Close()
		time.Sleep(7 * time.Second)
		e.ElectLeader(1)
		time.Sleep(time.Second)
		if e.Leader() != 1 {
			t.Fatalf("server %d leads, want server 1", e.Leader())
		}
		w := connect(t, e, 1, 40*time.Second)
		_, _, gone, _ := w.ExistsW("/e")
		start := time.Now()
		<-gone
		if d := time.Since(start); d < 7*time.Second || d > 11*time.Second {
			t.Errorf("the session expired %v after the change of leader, want 7s to 11s", d)
		}
	})
}

// A follower that reads late from its leader also reports the active sessions late. So a session
// can expire even if its client sends each ping in time.
func TestSlowPingsExpireALiveSession(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, w := connect(t, e, 0, 4*time.Second), connect(t, e, 2, 40*time.Second)
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		_, _, gone, _ := w.ExistsW("/e")
		time.Sleep(20 * time.Second)
		select {
		case <-gone:
			t.Fatal("the session expired although the follower's reports were not delayed")
		default:
		}
		e.DelayLink(zktest.Link{From: 2, To: 0}, 9*time.Second)
		<-gone
	})
}

func TestPausedLeaderIsReplacedAndSteps(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 2, 40*time.Second), connect(t, e, 0, 40*time.Second)
		mustCreate(t, a, "/x", 0)
		e.Pause(2)
		time.Sleep(12 * time.Second)
		if l := e.Leader(); l == 2 || l < 0 {
			t.Fatalf("server %d leads, want server 0 or 1", l)
		}
		for {
			if _, err := b.Create("/new", nil, 0, open); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		e.Resume(2)
		time.Sleep(5 * time.Second)
		if !e.Ready() {
			t.Fatal("the ensemble is not ready 5 s after node 2 was resumed")
		}
		for {
			ok, _, err := a.Exists("/new")
			if err == nil {
				if !ok {
					t.Error("the write of the new leader is missing")
				}
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestSessionSurvivesEveryServersRestart(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a := connect(t, e, 0, 10*time.Second)
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		id := a.SessionID()
		for i := range 6 {
			e.Kill(i % 3)
			time.Sleep(3 * time.Second)
			e.Start(i % 3)
			time.Sleep(3 * time.Second)
			if !e.Ready() {
				t.Fatalf("the ensemble is not ready 3 s after node %d was started again", i%3)
			}
		}
		ok, st, err := a.Exists("/e")
		if !ok || err != nil || a.SessionID() != id || st.EphemeralOwner != id {
			t.Errorf("/e exists: %v, error %v, stat %+v, session %#x; want true, nil, owned by the session %#x, which is still the same", ok, err, st, a.SessionID(), id)
		}
	})
}

func TestServerThatIsBehindByMuchGetsASnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		c := dialRawTimeout(t, e, 2, 30000)
		e.Kill(0)
		c.create("/n", 0)
		for range 20_000 {
			c.create("/n/x-", 2)
		}
		e.Start(0)
		time.Sleep(time.Second)
		d := dialRawTimeout(t, e, 0, 30000)
		if n := d.count("/n"); n != 20_000 {
			t.Errorf("got %d children, want 20000", n)
		}
		c.nc.Close()
		d.nc.Close()
	})
}

// A leader whose clock runs fast expires sessions early. A leader whose clock runs slowly expires
// them late.
func TestFastClockExpiresEarly(t *testing.T) {
	for _, c := range []struct {
		rate   float64
		lo, hi time.Duration
	}{{1, 8 * time.Second, 10 * time.Second}, {2, 4 * time.Second, 5 * time.Second}, {0.5, 16 * time.Second, 20 * time.Second}} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			e.SetClockRate(2, c.rate)
			w := connect(t, e, 1, 40*time.Second)
			raw := dialRawTimeout(t, e, 2, 8000)
			defer raw.nc.Close()
			raw.create("/e", wire.ModeEphemeral)
			_, _, gone, _ := w.ExistsW("/e")
			start := time.Now()
			<-gone
			if d := time.Since(start); d < c.lo || d > c.hi+time.Millisecond {
				t.Errorf("rate %v: expired after %v, want %v to %v", c.rate, d, c.lo, c.hi)
			}
		})
	}
}

func TestWipedServerGetsEverythingAgain(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		c := connect(t, e, 2, 20*time.Second)
		mustCreate(t, c, "/before", 0)
		e.Wipe(0) // the server runs, so nothing happens
		e.Kill(0)
		e.Wipe(0)
		mustCreate(t, c, "/meanwhile", 0)
		e.Start(0)
		e.Kill(1) // now the wiped server is needed for a majority
		for !e.Ready() {
			time.Sleep(100 * time.Millisecond)
		}
		there := connect(t, e, 0, 20*time.Second)
		for _, path := range []string{"/before", "/meanwhile"} {
			if ok, _, err := there.Exists(path); !ok || err != nil {
				t.Errorf("at the wiped server, %s exists: %t, error %v; want true, nil", path, ok, err)
			}
		}
		mustCreate(t, there, "/after", 0)
	})
}

// In this test only two of three servers acknowledge a write. After that, both of them are wiped.
// The write is lost, as it would be with ZooKeeper.
func TestWipedMajorityLosesAcknowledgedWrites(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		c := connect(t, e, 2, 20*time.Second)
		mustCreate(t, c, "/kept", 0)
		e.Kill(0)
		mustCreate(t, c, "/lost", 0)
		for _, server := range []int{1, 2} {
			e.Kill(server)
			e.Wipe(server)
		}
		for server := range 3 {
			e.Start(server)
		}
		for !e.Ready() {
			time.Sleep(100 * time.Millisecond)
		}
		again := connect(t, e, 1, 20*time.Second)
		kept, _, err1 := again.Exists("/kept")
		lost, _, err2 := again.Exists("/lost")
		if !kept || lost || err1 != nil || err2 != nil {
			t.Errorf("kept: %t (error %v), lost: %t (error %v); want true, false", kept, err1, lost, err2)
		}
	})
}

func TestSequenceIsSet(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		c := connect(t, e, 0, 20*time.Second)
		mustCreate(t, c, "/q", 0)
		if q, none := e.SetSequence("/q", 1<<31-3), e.SetSequence("/none", 1); !q || none {
			t.Errorf("SetSequence: got %t for /q, which exists, and %t for /none, which does not; want true and false", q, none)
		}
		for _, want := range []string{"/q/n-2147483645", "/q/n-2147483646"} {
			if got := mustCreate(t, c, "/q/n-", zk.FlagSequence); got != want {
				t.Errorf("created %s, want %s", got, want)
			}
		}
	})
}

// Regression: if a server was behind during SetSequence and applied the creation of the node later,
// the server numbered the node's children from 0.
func TestSequenceIsSetAtServersThatAreBehind(t *testing.T) {
	for name, fall := range map[string]struct{ behind, again func(e *zktest.Ensemble) }{
		"killed": {func(e *zktest.Ensemble) { e.Kill(0) }, func(e *zktest.Ensemble) { e.Start(0) }},
		"lags":   {func(e *zktest.Ensemble) { e.Lag(0, time.Second) }, func(*zktest.Ensemble) {}},
		"wiped":  {func(*zktest.Ensemble) {}, func(e *zktest.Ensemble) { e.Kill(0); e.Wipe(0); e.Start(0) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *zktest.Ensemble) {
				c := dialRaw(t, e, 2)
				fall.behind(e)
				c.create("/q", 0)
				if !e.SetSequence("/q", 100) {
					t.Error("SetSequence did not find /q")
				}
				c.nc.Close()
				fall.again(e)
				time.Sleep(time.Second)
				e.ElectLeader(0)
				time.Sleep(5 * time.Second)
				if !e.Ready() || e.Leader() != 0 {
					t.Fatalf("ready %v and server %d leads, want true and server 0",
						e.Ready(), e.Leader())
				}
				d := connect(t, e, 0, 20*time.Second)
				if got := mustCreate(t, d, "/q/n-", zk.FlagSequence); got != "/q/n-0000000100" {
					t.Errorf("created %s, want /q/n-0000000100", got)
				}
			})
		})
	}
}
