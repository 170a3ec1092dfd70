package harness

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

// toyHunt hunts a mutant of the toy scenario. In runs with a seed of at least `broken`, the toy
// lock is broken.
func toyHunt(t *testing.T, m Mutant, seeds int, broken uint64) Kill {
	t.Helper()
	k, err := Hunt(newToy().Scenario, m, seeds, func(s Scenario, seed uint64) (r *Result, err error) {
		ty := newToy()
		ty.lock.broken = seed >= broken
		ty.options.Seed = seed
		s.Workload = ty.workload
		virtual.Test(t, func(t *testing.T) { r, err = Run(t.Context(), s, ty.options) })
		return r, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMutantIsHuntedUntilItIsFoundOut(t *testing.T) {
	k := toyHunt(t, Mutant{Name: "greedy", Report: "somebody's", Violates: []string{"lock/fenced-writes", "lock/no-overlap"}, Workload: Noop}, 5, 2)
	if !k.Killed() || k.Violated != "lock/no-overlap" || k.Seeds != 3 || k.Reason == "" || k.Scenario != "toy" || k.Report != "somebody's" {
		t.Errorf("got %+v, want killed by lock/no-overlap after 3 seeds, with a reason", k)
	}
	// Within covers two whole runs of more than ten seconds each, and a part of the third run.
	if s := k.Within.Seconds(); s < 20 || s > 40 {
		t.Errorf("got Within %v, want 20s to 40s", k.Within)
	}
}

func TestMutantThatViolatesOnlySomethingElseSurvives(t *testing.T) {
	k := toyHunt(t, Mutant{Name: "greedy", Violates: []string{"lock/fenced-writes"}, Workload: Noop}, 2, 0)
	if k.Killed() || k.Seeds != 2 || !slices.Equal(k.Violates, []string{"lock/fenced-writes"}) {
		t.Errorf("got %+v, want a survivor after 2 seeds", k)
	}
}

func TestHuntEndsWithTheErrorOfARun(t *testing.T) {
	broken := errors.New("no ensemble")
	k, err := Hunt(newToy().Scenario, Mutant{Name: "greedy"}, 3, func(_ Scenario, seed uint64) (*Result, error) {
		return nil, broken
	})
	if !errors.Is(err, broken) || k.Seeds != 0 || k.Killed() {
		t.Errorf("got %+v, error %v; want no seeds and error %q", k, err, broken)
	}
}

func TestKillIsByTheVerdictInvalidAlone(t *testing.T) {
	for _, v := range []checker.Verdict{checker.Unknown, checker.NotExercised, checker.Valid} {
		r := &Result{Results: []checker.Result{{Property: checker.Property{ID: "lock/no-overlap"}, Verdict: v}}}
		if r.Killed(Mutant{Violates: []string{"lock/no-overlap"}}) {
			t.Errorf("verdict %v: got killed, want survived", v)
		}
	}
}

// A run is exposed if a pause or a fault may excuse a violation. RunMutant repeats such a run with
// the next seed. Regression: the process paused for 0.4 s just when another client took over the
// lock. Because of this pause, two holders of the lock did not count as a violation, and the mutant
// survived.
func TestExposedRunOfAMutantIsRepeated(t *testing.T) {
	runs := 0
	virtual.Test(t, func(t *testing.T) {
		ty := newToy()
		ty.options.Seed = 7
		ty.Scenario.Checkers = []checker.Checker{checker.New("lock/no-overlap", "", func(_ *history.History, j *checker.Judge) {
			j.Checked(1)
			if runs++; runs == 1 {
				j.Exposed(time.Second)
			} else {
				j.Violation(nil, "two holders")
			}
		})}
		m := Mutant{Name: "greedy", Violates: []string{"lock/no-overlap"}, Workload: Noop}
		if r := RunMutant(t, ty.Scenario, m, ty.options); !r.Killed(m) || r.Seed != 8 {
			t.Errorf("got seed %d, want seed 8 and the mutant killed\n%s", r.Seed, r.Summary())
		}
	})
	if runs != 2 {
		t.Errorf("got %d runs, want 2", runs)
	}
}
