package zktest_test

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// retransmission returns the time of TCP's first retransmission at or after d.
// Both times count from the first packet that was lost.
func retransmission(d time.Duration) time.Duration {
	at := 200 * time.Millisecond
	for interval := at; at < d; at += interval {
		interval *= 2
	}
	return at
}

// In this test both directions between the leader and a follower are cut, and only the leader sends
// packets during the cut. After Mend, the follower's first packet reaches the leader at once,
// because no packet waits in this direction. The packets that the leader sent during the cut reach
// the follower with the leader's next retransmission.
func TestMendedLinkWaitsForRetransmission(t *testing.T) {
	for _, length := range []time.Duration{900 * time.Millisecond, 1700 * time.Millisecond, 4800 * time.Millisecond} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			a, b := connect(t, e, 0, 40*time.Second), dialRawTimeout(t, e, 2, 40000)
			defer b.nc.Close()
			time.Sleep(333 * time.Millisecond)
			e.Cut(zktest.Link{From: 2, To: 0}, zktest.Link{From: 0, To: 2})
			first := time.Now()
			b.create("/held", 0) // the leader's first packet that is lost
			time.Sleep(length)
			e.Mend()
			mended := time.Now()
			created := make(chan time.Time, 1)
			go func() {
				a.Create("/asked", nil, 0, open)
				created <- time.Now()
			}()
			time.Sleep(time.Millisecond)
			if h := b.call(wire.OpExists, &wire.PathWatch{Path: "/asked"}); h.Err != wire.OK {
				t.Errorf("%v after a cut of %v: the leader does not have the request: got code %v, want OK", time.Since(mended), length, h.Err)
			}
			want := retransmission(length)
			if got := (<-created).Sub(first); got != want {
				t.Errorf("after a cut of %v: the follower received the leader's packets after %v, want %v", length, got, want)
			}
			start := time.Now()
			if _, err := a.Create("/later", nil, 0, open); err != nil || time.Since(start) > 0 {
				t.Errorf("after a cut of %v: a later write took %v: error %v; want 0s, nil",
					length, time.Since(start), err)
			}
		})
	}
}

// A restored link works at once if no packet waited on it. If Options.Retransmission is negative,
// every restored link works at once.
func TestMendedLinkWorksAtOnce(t *testing.T) {
	for _, waited := range []bool{false, true} {
		virtual.Test(t, func(t *testing.T) {
			opts := zktest.Options{}
			if waited {
				opts.Retransmission = -1
			}
			e := zktest.Start(t, opts)
			a, b := connect(t, e, 0, 40*time.Second), dialRawTimeout(t, e, 2, 40000)
			defer b.nc.Close()
			time.Sleep(10 * time.Millisecond)
			e.Isolate(0)
			if waited {
				b.create("/held", 0)
				time.Sleep(700 * time.Millisecond)
			}
			e.Mend()
			start := time.Now()
			if _, err := a.Create("/asked", nil, 0, open); err != nil || time.Since(start) > 0 {
				t.Errorf("packets waited %v: a write took %v: error %v; want 0s, nil", waited, time.Since(start), err)
			}
		})
	}
}

func TestMendOfOneDirection(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		a, b := connect(t, e, 0, 40*time.Second), dialRawTimeout(t, e, 2, 40000)
		defer b.nc.Close()
		e.Isolate(0)
		e.Mend(zktest.Link{From: 0, To: 2}, zktest.Link{From: 0, To: 1}, zktest.Link{From: 1, To: 0})
		created := make(chan error, 1)
		go func() {
			_, err := a.Create("/asked", nil, 0, open)
			created <- err
		}()
		time.Sleep(time.Second)
		if h := b.call(wire.OpExists, &wire.PathWatch{Path: "/asked"}); h.Err != wire.OK {
			t.Errorf("the restored direction delivers no request: got code %v, want OK", h.Err)
		}
		select {
		case err := <-created:
			t.Errorf("the direction that is still cut delivered a reply: error %v", err)
		default:
		}
		e.Mend()
		if err := <-created; err != nil {
			t.Errorf("create after Mend: got error %v, want nil", err)
		}
	})
}

// If links have a delay, a server joins its leader one round trip later, and an election ends one
// round trip later.
func TestJoinTakesARoundTrip(t *testing.T) {
	const there, back = 300 * time.Millisecond, 130 * time.Millisecond
	join := func(t *testing.T, delayed bool, fault func(e *zktest.Ensemble)) (took time.Duration) {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			for other := range 3 {
				if delayed {
					e.DelayLink(zktest.Link{From: 0, To: other}, there)
					e.DelayLink(zktest.Link{From: other, To: 0}, back)
				}
			}
			time.Sleep(time.Second)
			fault(e)
			for start := time.Now(); took == 0; {
				time.Sleep(time.Millisecond)
				if e.Ready() {
					took = time.Since(start)
				}
			}
		})
		return took
	}
	for name, fault := range map[string]func(e *zktest.Ensemble){
		"follower": func(e *zktest.Ensemble) { e.Kill(0); e.Start(0) },
		"election": func(e *zktest.Ensemble) { e.ElectLeader(0) },
	} {
		slower := join(t, true, fault) - join(t, false, fault)
		// The times are not exact. If a server can neither lead nor join a leader yet, it may try
		// again only after ElectionTime (200 ms), and thus succeed later than possible. The test
		// polls every millisecond.
		if slower < there+back-2*time.Millisecond || slower > there+back+400*time.Millisecond {
			t.Errorf("%s: %v slower with a delay, want %v", name, slower, there+back)
		}
	}
}

// In this test the leader finds that several sessions are due to expire, and closes one after
// another. Until the leader marks a session as closing, it still answers the requests of that
// session. These requests do not prevent the end of the session.
func TestExpirerClosesOneSessionAfterAnother(t *testing.T) {
	const pace = 700 * time.Millisecond
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		var clients []*rawClient
		for range 4 {
			c := dialRawTimeout(t, e, 2, 4000)
			defer c.nc.Close()
			clients = append(clients, c)
		}
		e.SetExpirerPace(2, pace)
		var closed []time.Time
		for start := time.Now(); len(closed) < 4 && time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
			for i := 0; len(closed) > 0 && i < len(clients); {
				// The ensemble closes the connection together with the session.
				if h := clients[i].call(wire.OpExists, &wire.PathWatch{Path: "/"}); h.Err == wire.OK {
					i++
					continue
				}
				clients = append(clients[:i:i], clients[i+1:]...)
				closed = append(closed, time.Now())
			}
			if len(closed) == 0 { // send nothing until the first session is closed
				if first := ended(t, e, clients); first >= 0 {
					clients = append(clients[:first:first], clients[first+1:]...)
					closed = append(closed, time.Now())
				}
			}
		}
		if len(closed) != 4 {
			t.Fatalf("%d sessions were closed, want 4", len(closed))
		}
		for i, at := range closed[1:] {
			if d := at.Sub(closed[i]); d < pace-20*time.Millisecond || d > pace+20*time.Millisecond {
				t.Errorf("session %d was closed %v after the one before it, want %v", i+1, d, pace)
			}
		}
	})
}

// The function `ended` returns the index of the first client whose session is over, or -1. It sends
// no request.
func ended(t *testing.T, e *zktest.Ensemble, clients []*rawClient) int {
	t.Helper()
	for i, c := range clients {
		c.nc.SetReadDeadline(time.Now().Add(time.Microsecond))
		if _, err := c.in.Peek(1); err != nil && !isTimeout(err) {
			return i
		}
		c.nc.SetReadDeadline(time.Time{})
	}
	return -1
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// If the pace is set to 0, the expirer closes at once all sessions that it has already found to be
// due.
func TestExpirerThatNoLongerPauses(t *testing.T) {
	bubble(t, func(t *testing.T, e *zktest.Ensemble) {
		w := connect(t, e, 1, 40*time.Second)
		for range 3 {
			c := dialRawTimeout(t, e, 2, 4000)
			defer c.nc.Close()
			c.create("/e", wire.ModeEphemeralSequential)
		}
		left := func() int {
			names, _, err := w.Children("/")
			if err != nil {
				t.Fatal(err)
			}
			return len(names) - 1 // without /zookeeper
		}
		e.SetExpirerPace(2, time.Hour)
		time.Sleep(20 * time.Second)
		if n := left(); n != 3 {
			t.Errorf("while the expirer pauses: got %d sessions, want all 3", n)
		}
		e.SetExpirerPace(2, 0)
		if n := left(); n != 0 {
			t.Errorf("without a pause: got %d sessions, want none", n)
		}
	})
}

// Regression: a client or Expire closed a session that the expirer had already found to be due, but
// had not closed yet. Expiries listed this session nevertheless.
func TestSessionClosedByOthersIsNoExpiry(t *testing.T) {
	closers := map[string]func(e *zktest.Ensemble, c *rawClient){
		"its client": func(_ *zktest.Ensemble, c *rawClient) { c.call(wire.OpCloseSession, nil) },
		"Expire":     func(e *zktest.Ensemble, c *rawClient) { e.Expire(c.session.SessionID) },
	}
	for name, closes := range closers {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			// At a follower, the client can close a session even if the leader has marked that
			// session as closing.
			var clients []*rawClient
			for range 3 {
				c := dialRawTimeout(t, e, 0, 4000)
				defer c.nc.Close()
				clients = append(clients, c)
			}
			e.SetExpirerPace(2, time.Second)
			// After the loop, one session is closed, one is marked as closing, and one still waits
			// for its mark.
			for len(e.Expiries()) == 0 {
				time.Sleep(time.Millisecond)
			}
			first := e.Expiries()[0].Session
			for _, c := range clients {
				if c.session.SessionID != first {
					closes(e, c)
				}
			}
			time.Sleep(10 * time.Second)
			if got := e.Expiries(); len(got) != 1 {
				t.Errorf("closed by %s: got expiries %+v, want only that of %#x", name, got, first)
			}
		})
	}
}

// A throttled request is refused in its turn, has no effect, and keeps its
// session alive.
func TestThrottledRequest(t *testing.T) {
	for _, server := range []int{0, 2} {
		bubble(t, func(t *testing.T, e *zktest.Ensemble) {
			c := dialRawTimeout(t, e, server, 4000)
			defer c.nc.Close()
			rule := e.Inject(zktest.Rule{Server: server + 1, Count: -1, Fate: zktest.ThrottleRequest})
			for range 20 {
				time.Sleep(time.Second)
				for op, req := range map[wire.Op]wire.Record{
					wire.OpCreate: &wire.CreateRequest{Path: "/x", ACL: world},
					wire.OpExists: &wire.PathWatch{Path: "/"},
					wire.OpSync:   &wire.Path{Path: "/"},
				} {
					if h := c.call(op, req); h.Err != wire.ThrottledOp {
						t.Fatalf("server %d: %v: got code %v, want %v", server, op, h.Err, wire.ThrottledOp)
					}
				}
			}
			if rule.Fired() != 60 {
				t.Errorf("server %d: the rule selected %d requests, want 60", server, rule.Fired())
			}
			rule.Remove()
			if h := c.call(wire.OpExists, &wire.PathWatch{Path: "/x"}); h.Err != wire.NoNode {
				t.Errorf("server %d: exists after a refused create: got code %v, want NoNode", server, h.Err)
			}
			other := dialRawTimeout(t, e, server, 4000)
			defer other.nc.Close()
			rule = e.Inject(zktest.Rule{Count: -1, Fate: zktest.ThrottleRequest})
			if h := other.call(wire.OpCloseSession, nil); h.Err != wire.OK {
				t.Errorf("server %d: closeSession: got code %v, want OK", server, h.Err)
			}
			third, err := tryResume(e, server, wire.ConnectResponse{Password: make([]byte, 16)}, 4000)
			if err != nil || third.session.SessionID == 0 {
				t.Fatalf("server %d: got no session while requests are throttled: error %v", server, err)
			}
			third.nc.Close()
			rule.Remove()
		})
	}
}
