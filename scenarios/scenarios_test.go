package scenarios

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/postgres"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// In this test, clients lose their sessions in different ways. One client at a time holds the lock,
// and each holder learns that it has lost the lock.
//
// Covers L1, L2, L4, L7, S2.
func TestLockSessionLoss(t *testing.T) {
	run(t, LockSessionLoss(), 20*time.Second)
}

// If the follower that a holder uses is cut off, the holder learns that it has lost the lock before
// another client is granted the lock.
//
// Tests of isolated holders and paused processes mostly wait, so they run in parallel.
//
// Covers L1, L2, S2.
func TestIsolatedFollower(t *testing.T) {
	t.Parallel()
	run(t, IsolatedFollower(), 30*time.Second)
}

// If the leader that a holder uses is cut off from the majority, the holder learns that it has lost
// the lock before another client is granted the lock.
//
// Covers L1, L2, S2.
func TestIsolatedLeader(t *testing.T) {
	t.Parallel()
	run(t, IsolatedLeader(), 40*time.Second)
}

// If a holder is cut off from its server, it learns that it has lost the lock before another client
// is granted the lock.
//
// Covers L1, L2, S2.
func TestIsolatedClient(t *testing.T) {
	t.Parallel()
	run(t, IsolatedClient(), 20*time.Second)
}

// The mutants of IsolatedFollower use the locks of go-zookeeper, Curator and kazoo. Each of them
// fails on the same kind of servers on which zkcoord's lock passes.
func TestIsolatedFollowerKillsTheLibraries(t *testing.T) {
	t.Parallel()
	killAll(t, IsolatedFollower(), 20*time.Second)
}

// All processes of a command under a lock are dead before the next command starts. The scenario
// covers the bug consul#9788. Its checker judges the logs that the commands themselves write.
func TestShellLock(t *testing.T) {
	t.Parallel()
	needProcesses(t)
	run(t, ShellLock(), 60*time.Second)
}

// A client that was idle for longer than its session timeout holds the lock alone. The clients are
// idle most of the time, so the test runs in parallel with others.
//
// Covers L1, L2, S2.
func TestIdleLock(t *testing.T) {
	t.Parallel()
	run(t, IdleLock(), 60*time.Second)
}

// A watcher reports states in order, and converges to the final state, whatever happens to
// connections, servers and sessions.
//
// Covers W2, W3, W4, W5, W6.
func TestWatch(t *testing.T) {
	run(t, Watch(), 20*time.Second)
}

func needProcesses(t *testing.T) {
	t.Helper()
	needs.Installed(t, procs.Able())
}

// killAll runs every mutant of s that can run here. Each must be killed.
func killAll(t *testing.T, s harness.Scenario, standard time.Duration) {
	for _, m := range s.Mutants {
		t.Run(m.Name, func(t *testing.T) {
			if m.Needs != "" {
				if !*libraries {
					t.Skip("it takes minutes: see the flag -libraries")
				}
				needPeers(t)
			}
			result := harness.RunMutant(t, s, m, options(t, standard))
			t.Log(result.Summary())
		})
	}
}

// Clients of zkcoord, Curator and kazoo share one lock. They exclude each other and take turns.
//
// Covers L1, L2, L3.
func TestInterop(t *testing.T) {
	needPeers(t)
	s, o := flagged(t, Interop(), options(t, 8*time.Second))
	o.TxnLogs = t.TempDir()
	result, err := harness.Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, result, o.Store)
	noConflict(t, o.TxnLogs)
}

// Clients of several libraries share an election, a read-write lock and a semaphore. The three
// scenarios use one ensemble, because they inject no faults.
//
// Covers L1, L2, L3, E1, E3.
func TestInteropSiblings(t *testing.T) {
	needPeers(t)
	o := options(t, 8*time.Second)
	start := o.Ensemble
	e, err := start(t.Context(), ensemble.Config{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the ensemble: got error %v, want none", err)
		}
	}()
	o.Ensemble = func(context.Context, ensemble.Config) (ensemble.Ensemble, error) { return kept{e}, nil }
	for _, s := range []harness.Scenario{InteropElection(), InteropRWLock(), InteropSemaphore()} {
		t.Run(s.Name, func(t *testing.T) { t.Log(harness.RunT(t, s, o).Summary()) })
	}
}

// The type `kept` is an ensemble that outlives runs.
type kept struct{ ensemble.Ensemble }

func (kept) Close(context.Context) error { return nil }

// needPeers skips or fails the test if Curator or kazoo is not installed.
func needPeers(t *testing.T) {
	t.Helper()
	needs.Installed(t, errors.Join(peers.Curator.Installed(), peers.Kazoo.Installed()))
}

// The fenced resource stays correct although a holder's process is paused. The test runs on the
// model of ZooKeeper, because only the clients have to be real processes.
//
// Covers L3.
func TestLockPause(t *testing.T) {
	t.Parallel()
	result := harness.RunT(t, LockPause(), harness.Options{
		Seed: 1, Time: 20 * time.Second,
		Ensemble: func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			return embedded.Start(embedded.Options{Config: config})
		},
	})
	t.Log(result.Summary())
}

// In this test, the clients' processes cannot get more memory for a while. A holder may then
// believe for too long that it holds the lock. This counts as exposure and is no violation, because
// the fault is outside of the lock's envelope. But the fenced resource must stay correct.
func TestLockWhileClientsWaitForMemory(t *testing.T) {
	t.Parallel()
	if err := procs.AbleToLimitMemory(); err != nil {
		t.Skip(err)
	}
	s, err := Sharpest("client-memory")
	if err != nil {
		t.Fatal(err)
	}
	result := harness.RunT(t, s, harness.Options{
		Seed: 1, Time: 20 * time.Second,
		Ensemble: func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			return embedded.Start(embedded.Options{Config: config})
		},
	})
	t.Log(result.Summary()) // if the fault has no effect, the run is not exercised, and RunT fails
}

// No stale write reaches the database although a holder's process is paused. The test runs on real
// servers, or on the model of ZooKeeper with -ensemble embedded.
//
// Covers F1, F2, F3.
func TestLockPauseSQL(t *testing.T) {
	t.Parallel()
	needs.Installed(t, postgres.Installed())
	run(t, LockPauseSQL(), 20*time.Second)
}

func TestLockPauseSQLMutantsDie(t *testing.T) {
	t.Parallel()
	needs.Installed(t, postgres.Installed())
	s := LockPauseSQL()
	for _, m := range s.Mutants {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			t.Log(harness.RunMutant(t, s, m, options(t, 20*time.Second)).Summary())
		})
	}
}

// A client in a separate process can give up an acquire, and all other clients are still served.
// Regression: the reply to an abandoned acquire was mistaken for the reply to the client's next
// acquire. The client's process then executed that next acquire, which waited behind the contender
// of the abandoned acquire. All other clients waited behind both contenders.
func TestAClientInAProcessOfItsOwnMayGiveUp(t *testing.T) {
	t.Parallel()
	result, err := harness.Run(t.Context(), LockFaults(), harness.Options{
		Seed: 1, Time: 5 * time.Second, Faults: []string{}, ClientProcesses: true,
		Ensemble: func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			return embedded.Start(embedded.Options{Config: config})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	gaveUp := slices.ContainsFunc(result.History.Events, func(e history.Event) bool { return e.Op == checker.OpAcquire && e.Kind == history.Info })
	if m8, _ := result.Of("client/waiters-served"); m8.Verdict != checker.Valid || !gaveUp {
		t.Errorf("got a client that gave up: %t, and client/waiters-served %v (%s); want true "+
			"and %v\n%s", gaveUp, m8.Verdict, m8.Reason, checker.Valid, result.Summary())
	}
}
