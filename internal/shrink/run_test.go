package shrink

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// The function `verdict` returns a result with the given verdicts of lock/no-overlap and
// client/waiters-served.
func verdict(t Trial, m3, m8 checker.Verdict) *harness.Result {
	return &harness.Result{Plan: t.Plan, Clients: t.Clients, Time: t.Time, Operations: t.Operations, Results: []checker.Result{
		{Property: checker.Property{ID: "lock/no-overlap"}, Verdict: m3}, {Property: checker.Property{ID: "client/waiters-served"}, Verdict: m8},
	}}
}

func TestRunIsMadeSmallByThePropertyItViolated(t *testing.T) {
	big := verdict(Trial{Plan: planOf(20), Clients: 5, Time: time.Minute}, checker.Invalid, checker.Valid)
	big.Plan[7].For += 300 * time.Microsecond
	small, err := Run(t.Context(), big, 1, func(_ context.Context, tr Trial) (*harness.Result, error) {
		for _, s := range tr.Plan {
			if s.For != s.For.Round(time.Millisecond) {
				t.Fatalf("%v is not a whole number of milliseconds", s.For)
			}
		}
		// Without fault 3, or with fewer than 20 operations, another property is violated.
		if slices.Contains(names(tr.Plan), "3") && (tr.Operations == 0 || tr.Operations >= 20) {
			return verdict(tr, checker.Invalid, checker.Valid), nil
		}
		return verdict(tr, checker.Unknown, checker.Invalid), nil
	})
	if err != nil || small.Property != "lock/no-overlap" || small.Operations != 32 || small.Clients != 2 {
		t.Fatalf("got %+v of property %q, error %v, want lock/no-overlap with 32 operations and 2 clients", small.Trial, small.Property, err)
	}
	if one, _ := small.Result.Of("lock/no-overlap"); one.Verdict != checker.Invalid || !equal(trialOf(small.Result), small.Trial) {
		t.Errorf("got the result of the trial %+v with verdict %v, want %+v with %v",
			trialOf(small.Result), one.Verdict, small.Trial, checker.Invalid)
	}
	if big.Plan[7].For == big.Plan[7].For.Round(time.Millisecond) {
		t.Error("the plan of the original run was changed")
	}
}

// A stored result may have the overall verdict Invalid although no property is violated. Run must
// refuse such a result. Regression: such a result without any properties caused a panic.
func TestRunWithoutAViolationIsRefused(t *testing.T) {
	none := verdict(Trial{Plan: planOf(3)}, checker.Unknown, checker.Valid)
	none.Verdict = checker.Invalid
	for _, r := range []*harness.Result{none, {Verdict: checker.Invalid}} {
		_, err := Run(t.Context(), r, 1, func(_ context.Context, tr Trial) (*harness.Result, error) {
			t.Error("the run was repeated, want an error first")
			return r, nil
		})
		if err == nil || errors.Is(err, ErrNotAgain) {
			t.Errorf("got error %v for a run with %v, want another one than ErrNotAgain", err, r.Results)
		}
	}
}

func TestViolationThatDoesNotComeBackIsSaid(t *testing.T) {
	tried := 0
	big := verdict(Trial{Plan: planOf(3), Clients: 5, Time: time.Minute}, checker.Invalid, checker.Valid)
	_, err := Run(t.Context(), big, 3, func(_ context.Context, tr Trial) (*harness.Result, error) {
		tried++
		return verdict(tr, checker.Unknown, checker.Invalid), nil
	})
	if !errors.Is(err, ErrNotAgain) || tried != 3 {
		t.Errorf("got error %v after %d trials, want ErrNotAgain after 3", err, tried)
	}
}
