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

// verdict is a result in which lock/no-overlap and client/waiters-served have these verdicts.
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
				t.Fatalf("%v is no whole number of milliseconds", s.For)
			}
		}
		// Without fault 3, or with fewer than 20 operations, it is another violation.
		if slices.Contains(names(tr.Plan), "3") && (tr.Operations == 0 || tr.Operations >= 20) {
			return verdict(tr, checker.Invalid, checker.Valid), nil
		}
		return verdict(tr, checker.Unknown, checker.Invalid), nil
	})
	if err != nil || small.Property != "lock/no-overlap" || small.Operations != 32 || small.Clients != 2 {
		t.Fatalf("%+v, %v", small.Trial, err)
	}
	if one, _ := small.Result.Of("lock/no-overlap"); one.Verdict != checker.Invalid || !equal(trialOf(small.Result), small.Trial) {
		t.Errorf("the result %+v is not of the trial %+v", small.Result, small.Trial)
	}
	if big.Plan[7].For == big.Plan[7].For.Round(time.Millisecond) {
		t.Error("the plan of the run was changed")
	}
}

// A result of others may say invalid of a run in which nothing is. Such a one, without any results, was a panic.
func TestRunWithoutAViolationIsRefused(t *testing.T) {
	none := verdict(Trial{Plan: planOf(3)}, checker.Unknown, checker.Valid)
	none.Verdict = checker.Invalid
	for _, r := range []*harness.Result{none, {Verdict: checker.Invalid}} {
		_, err := Run(t.Context(), r, 1, func(_ context.Context, tr Trial) (*harness.Result, error) {
			t.Error("it was run")
			return r, nil
		})
		if err == nil || errors.Is(err, ErrNotAgain) {
			t.Errorf("%v of a run with %v", err, r.Results)
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
		t.Errorf("%v after %d", err, tried)
	}
}
