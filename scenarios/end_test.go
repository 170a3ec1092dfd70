package scenarios

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// alongside runs s without faults. For each client it calls f in another goroutine, while the
// client works.
func alongside(t *testing.T, s harness.Scenario, seed uint64, f func(context.Context, *harness.Client, *netfault.Proxy)) *harness.Result {
	t.Helper()
	inner := s.Workload
	s.Workload = func(env *harness.Env) harness.Workload {
		w := inner(env)
		work := w.Work
		w.Work = func(ctx context.Context, c *harness.Client) error {
			var group sync.WaitGroup
			defer group.Wait()
			group.Go(func() { f(ctx, c, c.Proxy()) })
			return work(ctx, c)
		}
		return w
	}
	o := VirtualOptions(s, seed)
	o.Time, o.Faults = 5*time.Second, []string{}
	return virtually(t, s, o)
}

// The function `slowly` delays the requests of client 0 more and more. The delays increase in small
// steps, so the session survives.
func slowly(ctx context.Context, c *harness.Client, l *netfault.Proxy) {
	for late := time.Duration(0); c.ID == 0 && late < 1500*time.Millisecond && c.Pause(ctx, 200*time.Millisecond); late += 100 * time.Millisecond {
		l.Delay(late, 0)
	}
}

// cutAtEnd waits until the work is over, and then stalls the proxy of client 2.
func cutAtEnd(ctx context.Context, c *harness.Client, l *netfault.Proxy) {
	for c.Pause(ctx, time.Hour) {
	}
	if c.ID == 2 {
		l.Stall()
	}
}

// The checker does not blame watchers for missing a change that was applied after they had stopped.
// Regression: it blamed them if the change had begun before the work ended.
func TestWatchersSeeTheLastChange(t *testing.T) {
	for seed := range uint64(10) {
		mustBeValid(t, alongside(t, Watch(), seed, slowly), "watch/final-state-reported")
	}
}

// If a watcher loses its session at the end and opens no other session, the checker does not blame
// it for missing later changes. Regression: the checker blamed it.
func TestWatcherThatLostItsSessionAtTheEnd(t *testing.T) {
	for seed := range uint64(10) {
		r := alongside(t, Watch(), seed, func(ctx context.Context, c *harness.Client, l *netfault.Proxy) {
			slowly(ctx, c, l)
			cutAtEnd(ctx, c, l)
		})
		mustBeValid(t, r, "watch/final-state-reported")
	}
}

// A permit is not counted as lost before the session that acquired it is over. If the release of
// the permit gets no reply, the permit can remain acquired until the session expires. Regression:
// such a permit was counted as lost.
func TestPermitsAreCountedOnceSessionsAreOver(t *testing.T) {
	s := Semaphore()
	s.Workload = func(*harness.Env) harness.Workload {
		return harness.Workload{Final: countPermits, Work: func(ctx context.Context, c *harness.Client) error {
			m, err := openSemaphore(leased())(ctx, c, znode.Join(c.Env().Root(), "lock"))
			if err != nil {
				return err
			}
			defer m.close()
			if c.ID != 2 {
				return nil
			}
			_, err = m.lock(ctx, "1")
			cutAtEnd(ctx, c, c.Proxy())
			return err
		}}
	}
	r := alongside(t, s, 1, func(context.Context, *harness.Client, *netfault.Proxy) {})
	mustBeValid(t, r, "semaphore/no-permit-lost")
}

func mustBeValid(t *testing.T, r *harness.Result, property string) {
	t.Helper()
	if found, _ := r.Of(property); found.Verdict != checker.Valid {
		t.Errorf("seed %d: %s: got %v (%s), want %v\n%s",
			r.Seed, property, found.Verdict, found.Reason, checker.Valid, r.Summary())
	}
}

// In this test a session that the setup opens leaves a znode behind in the ensemble. This violates
// the property client/nothing-left. No other property reports such a znode.
func TestZnodeLeftBehindIsInvalid(t *testing.T) {
	s := LockFaults()
	inner := s.Workload
	virtual.Test(t, func(t *testing.T) {
		var left *session.Session
		s.Workload = func(env *harness.Env) harness.Workload {
			w := inner(env)
			w.Setup = func(ctx context.Context, env *harness.Env) (err error) {
				left, err = session.Open(ctx, session.Options{Servers: env.Servers(), Dial: env.Dial})
				if err == nil {
					_, err = left.Create(ctx, znode.Join(env.Root(), "left"), nil, session.Ephemeral)
				}
				return err
			}
			return w
		}
		o := VirtualOptions(s, 1)
		o.Time, o.Faults = 5*time.Second, []string{}
		r, err := harness.Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		left.Close()
		if m7, _ := r.Of("client/nothing-left"); m7.Verdict != checker.Invalid || !strings.Contains(m7.Reason, "1 znodes left behind") || !strings.Contains(m7.Reason, "/left of ") {
			t.Errorf("client/nothing-left: got %v (%s), want %v with %q and %q",
				m7.Verdict, m7.Reason, checker.Invalid, "1 znodes left behind", "/left of ")
		}
	})
}

// In this test, clients believe that they hold the lock after their sessions have expired. This
// violates lock/loss-before-expiry.
//
// If a fault closes a session, the history marks the end of that session as "closed". A late end of
// a hold may then be no violation. In this test, no fault closes a session: the sessions expire. So
// the history must not have the mark.
func TestLossThatComesLateIsSeenWhereTheSessionExpired(t *testing.T) {
	s := LockFaults()
	s = s.Mutate(s.Mutants[slices.IndexFunc(s.Mutants, func(m harness.Mutant) bool { return m.Name == "trusting" })])
	o := VirtualOptions(s, 1)
	r := virtually(t, s, o)
	if m10, _ := r.Of("lock/loss-before-expiry"); m10.Verdict != checker.Invalid {
		t.Errorf("lock/loss-before-expiry: got %v (%s), want %v",
			m10.Verdict, m10.Reason, checker.Invalid)
	}
	for i := range r.History.Events {
		if e := &r.History.Events[i]; e.Kind == history.Session && e.Op == history.SessionExpired && e.Arg != "" {
			t.Errorf("session 0x%x expired: got it recorded as %q, want no such mark",
				e.Session, e.Arg)
		}
	}
}

// In this test, two runs use the same ensemble, one after the other. The second run must not be
// judged by transactions that are older than itself.
func TestRunOnAKeptEnsembleIsJudgedByItsOwnTransactions(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := Barrier()
		o := VirtualOptions(s, 1)
		start, kept := o.Ensemble, ensemble.Ensemble(nil)
		o.Ensemble = func(ctx context.Context, c ensemble.Config) (_ ensemble.Ensemble, err error) {
			if kept == nil {
				kept, err = start(ctx, c)
			}
			return kept, err
		}
		o.Time, o.Faults, o.KeepEnsemble = 5*time.Second, []string{}, true
		var last int64 // zxid of the first run's last transaction
		for range 2 {
			r, err := harness.Run(t.Context(), s, o)
			if err != nil {
				t.Fatal(err)
			}
			txns := r.TxnLog.Txns
			if len(txns) < 10 || txns[0].Zxid <= last || r.TxnLog.Gaps > 0 {
				t.Errorf("got %d transactions from 0x%x on, with %d gaps; want at least 10, all after 0x%x, without gaps", len(txns), txns[0].Zxid, r.TxnLog.Gaps, last)
			}
			last = txns[len(txns)-1].Zxid
		}
		if err := kept.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
