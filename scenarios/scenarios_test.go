package scenarios

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/ensemble/kinds"
	"github.com/zkcoord/zkcoord/harness/link"
	"github.com/zkcoord/zkcoord/scenarios/peers"
)

var (
	kind      = flag.String("ensemble", "container", "kind of ensemble to run on")
	nodes     = flag.Int("nodes", 0, "nodes of the ensemble; 0 is what the scenario asks for")
	seed      = flag.Uint64("seed", 1, "seed of the plan and of the clients' choices")
	libraries = flag.Bool("libraries", false, "run the isolated holder with Curator and kazoo too, which takes minutes")
	length    = flag.Duration("time", 0, "length of the work under faults; 0 is each scenario's own")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		peers.CleanUp()
		os.Exit(code)
	}))
}

// options are those of the flags, with a length for where they give none.
func options(t *testing.T, standard time.Duration) harness.Options {
	t.Helper()
	if *kind == "container" {
		if err := container.Available(t.Context()); err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
	}
	start, err := kinds.Starter(*kind, "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if *length > 0 {
		standard = *length
	}
	return harness.Options{
		Ensemble: start, Nodes: *nodes, Seed: *seed, Time: standard,
		Link: func(_ int, dial ensemble.DialFunc) harness.Link { return link.New(dial) },
	}
}

// Covers L1, L2, L4, L7, S2.
func TestLockSessionLoss(t *testing.T) {
	result := harness.RunT(t, LockSessionLoss(), options(t, 20*time.Second))
	t.Log(result.Summary())
}

// Covers L1, L2, S2.
func TestIsolatedFollower(t *testing.T) {
	result := harness.RunT(t, IsolatedFollower(), options(t, 30*time.Second))
	t.Log(result.Summary())
}

// The libraries fail where zkcoord does not, on the same servers.
func TestIsolatedFollowerKillsTheLibraries(t *testing.T) {
	killAll(t, IsolatedFollower(), 20*time.Second)
}

// Covers W2, W3, W4, W5, W6.
func TestWatch(t *testing.T) {
	result := harness.RunT(t, Watch(), options(t, 20*time.Second))
	t.Log(result.Summary())
}

// killAll runs every mutant of s that can run here; each has to be found out.
func killAll(t *testing.T, s harness.Scenario, standard time.Duration) {
	for _, m := range s.Mutants {
		t.Run(m.Name, func(t *testing.T) {
			if m.Name == "curator" || m.Name == "kazoo" {
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

// Covers L1, L2, L3.
func TestInterop(t *testing.T) {
	needPeers(t)
	result := harness.RunT(t, Interop(), options(t, 8*time.Second))
	t.Log(result.Summary())
}

// needPeers skips where other libraries are not installed, and fails if CI is set.
func needPeers(t *testing.T) {
	t.Helper()
	for _, l := range []peers.Library{peers.Curator, peers.Kazoo} {
		if err := l.Installed(); err != nil && os.Getenv("CI") != "" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
	}
}
