package scenarios

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/link"
	"github.com/zkcoord/zkcoord/zktest"
)

// Each scenario also runs on the embedded ensemble in virtual time, for many
// seeds: minutes of faults take a fraction of a second.

var seeds = flag.Int("seeds", 10, "seeds of each scenario on the embedded ensemble, in virtual time")

// virtually runs s once in virtual time.
func virtually(t *testing.T, s harness.Scenario, seed uint64, length time.Duration) (result *harness.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		result, err = harness.Run(t.Context(), s, harness.Options{
			Seed: seed, Time: length, Faults: some(s.Faults, seed),
			Ensemble: func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
				return embedded.Start(embedded.Options{Config: config, Model: zktest.Options{Seed: seed}})
			},
			Link: func(_ int, dial ensemble.DialFunc) harness.Link { return link.New(dial) },
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return result
}

// some are a few of the faults, others for each seed, so that each of them is
// tried several times in one run.
func some(faults []harness.Fault, seed uint64) []string {
	const few = 3
	if len(faults) <= few {
		return nil
	}
	var names []string
	for i := range uint64(few) {
		names = append(names, faults[(seed*few+i)%uint64(len(faults))].Name())
	}
	return names
}

// virtual are the scenarios that need no real servers.
func virtual() []harness.Scenario {
	return []harness.Scenario{IsolatedFollower(), IsolatedLeader(), LockFaults(), LockSessionLoss(), Watch()}
}

func TestScenariosInVirtualTime(t *testing.T) {
	for _, s := range virtual() {
		t.Run(s.Name, func(t *testing.T) {
			for seed := range uint64(*seeds) {
				if result := virtually(t, s, seed, 90*time.Second); !result.Verdict.Passed() {
					t.Fatalf("seed %d: %s", seed, result.Summary())
				}
			}
		})
	}
}

func TestMutantsDieInVirtualTime(t *testing.T) {
	for _, s := range virtual() {
		for _, m := range s.Mutants {
			if m.Name == "curator" || m.Name == "kazoo" {
				continue // processes do not run in virtual time
			}
			t.Run(fmt.Sprintf("%s/%s", s.Name, m.Name), func(t *testing.T) {
				for seed := range uint64(5) {
					if result := virtually(t, s.Mutate(m), seed, 90*time.Second); result.Killed(m) {
						t.Logf("killed by seed %d", seed)
						return
					}
				}
				t.Errorf("mutant %s survived 5 seeds: none of %v was violated", m.Name, m.Violates)
			})
		}
	}
}
