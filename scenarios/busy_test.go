package scenarios

import (
	"flag"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/kinds"
)

var busyRuns = flag.Int("busy", 0, "runs of each scenario in real time by TestBusyMachineMakesNoVerdict, with all processors loaded; 0 means one run of queue-claims")

// The function `burn` keeps all processors busy with goroutines of this process until the test
// ends.
func burn(t *testing.T) {
	var ended atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for x := uint32(1); !ended.Load(); x *= 16777619 {
				_ = x
			}
		}()
	}
	t.Cleanup(func() { ended.Store(true) })
}

// A busy machine does not make a run invalid. Regression: the scenario queue-claims was invalid
// with the seed 108349, because the loss of a claim was recorded 14 us after the next claim on the
// same item.
func TestBusyMachineMakesNoVerdict(t *testing.T) {
	all, runs, first := Virtual(), *busyRuns, *seed
	if runs == 0 {
		all, runs, first = []harness.Scenario{QueueClaims()}, 1, 108349
	}
	burn(t)
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			verdicts := make(map[checker.Verdict]int)
			for i := range uint64(runs) {
				start, err := kinds.Starter("embedded", "", "", nil)
				if err != nil {
					t.Fatal(err)
				}
				// Five seconds of work are enough for most scenarios. If a scenario's field Time is
				// longer than that, its clients work for that longer time, because each of its
				// faults takes long.
				r, err := harness.Run(t.Context(), s, harness.Options{Ensemble: start, Seed: first + i, Time: max(5*time.Second, s.Time)})
				if err != nil {
					t.Fatalf("seed %d: %v", first+i, err)
				}
				switch verdicts[r.Verdict]++; r.Verdict {
				case checker.Invalid:
					t.Errorf("seed %d is invalid\n%s%s", r.Seed, r.Summary(), where(t, r, nil))
				case checker.Unknown:
					t.Logf("seed %d is unknown\n%s", r.Seed, r.Summary())
				}
			}
			t.Log(s.Name, verdicts)
		})
	}
}
