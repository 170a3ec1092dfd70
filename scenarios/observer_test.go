package scenarios

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
)

// isolatedObserver is IsolatedFollower with client 0 on an observer.
func isolatedObserver() (harness.Scenario, chooser) {
	const nodes = 4
	choose := func(context.Context, ensemble.Ensemble) (int, error) { return nodes - 1, nil }
	return isolatedMutex(harness.Scenario{
		Name:   "isolated-observer",
		Claim:  "A client on an observer that is cut off learns that it lost the lock before any other client is granted it.",
		Config: ensemble.Config{Nodes: nodes, Observers: 1, TickTime: 2 * time.Second, SyncLimit: 5},
		Faults: []harness.Fault{isolate{length: 9 * time.Second}},
	}, choose), choose
}

// This test checks assumption A5 of decision 0001: a client on an observer that follows the leader
// is as safe as a client on a follower. In this test, an observer is cut off from the other servers
// while its client holds the lock. The lock of this project must never have two holders at the same
// time. To show that the cut isolates the observer, the test also runs go-zookeeper's zk.Lock on
// the same observer. That lock is not safe, and must have two holders at the same time.
//
//	go test ./scenarios -run TestIsolatedObserver -libraries -time 60s -v
func TestIsolatedObserver(t *testing.T) {
	if !*libraries {
		t.Skip("takes two minutes: see -libraries")
	}
	_, _, err := process.Find(t.Context(), *zookeeper)
	needs.Installed(t, err)
	start, err := kinds.Starter("process", *zookeeper, "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	s, choose := isolatedObserver()
	run := func(s harness.Scenario, want checker.Verdict) {
		t.Helper()
		o := harness.Options{Ensemble: start, Nodes: 4, Seed: *seed, Time: max(*length, 12*time.Second)}
		r, err := harness.Run(t.Context(), s, o)
		if err != nil {
			t.Fatalf("a run in which lock/no-overlap should be %v: %v", want, err)
		}
		if one, _ := r.Of("lock/no-overlap"); one.Verdict != want {
			t.Errorf("lock/no-overlap: got %v, want %v\n%s", one.Verdict, want, r.Summary())
		}
		t.Log(r.Summary())
	}
	run(s, checker.Valid)
	s.Workload = isolatedHolder(choose, func(servers serversOf) lockProgram {
		return lockProgram{open: ofLibrary(peers.ZKLock, client.Lock, isolatedTimeout, servers).open}
	})
	run(s, checker.Invalid)
}
