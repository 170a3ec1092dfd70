package shrink

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// ErrNotAgain reports that the violation did not occur again when the run was repeated. Such a
// violation depends on chance, or occurs only on the servers of the original run.
var ErrNotAgain = errors.New("shrink: the violation did not occur again")

// Small is the smallest run that was found.
type Small struct {
	Trial
	Property string // the property that this run and the original run violate
	Tried    int
	Result   *harness.Result
}

// Run minimizes the run with the result `r`, which must be Invalid. It calls `run` for smaller and
// smaller trials, and up to `tries` times for each trial. If the violation occurs in none of these
// runs, it rejects the trial.
//
// The first trial repeats the original run. If ctx ends after the first trial has shown the
// violation, Run returns the smallest trial so far. If ctx ends before that, Run returns the error
// of `run`, which should be the context's error.
func Run(ctx context.Context, r *harness.Result, tries int, run func(context.Context, Trial) (*harness.Result, error)) (Small, error) {
	failed := r.Failed()
	if len(failed) == 0 || failed[0].Verdict != checker.Invalid {
		return Small{}, errors.New("shrink: no property of the run is violated")
	}
	small := Small{Trial: trialOf(r), Property: failed[0].ID}
	violates := func(ctx context.Context, t Trial) (bool, error) {
		for range max(1, tries) {
			again, err := run(ctx, t)
			if err != nil {
				return false, err
			}
			if one, _ := again.Of(small.Property); one.Verdict == checker.Invalid {
				small.Result = again
				return true, nil
			}
		}
		return false, nil
	}
	switch found, err := violates(ctx, small.Trial); {
	case err != nil:
		return small, err
	case !found:
		return small, ErrNotAgain
	}
	var err error
	small.Trial, small.Tried, err = Minimize(ctx, small.Trial, violates)
	return small, err
}

// trialOf returns the trial that repeats a run. The times of its plan are rounded to milliseconds.
func trialOf(r *harness.Result) Trial {
	t := Trial{Plan: slices.Clone(r.Plan), Clients: r.Clients, Time: r.Time, Operations: r.Operations}
	for i := range t.Plan {
		t.Plan[i].At = t.Plan[i].At.Round(time.Millisecond)
		t.Plan[i].For = t.Plan[i].For.Round(time.Millisecond)
	}
	return t
}

// Options returns o with the values of this trial.
func (t Trial) Options(o harness.Options) harness.Options {
	o.Plan, o.Clients, o.Time, o.Operations = t.Plan, t.Clients, t.Time, t.Operations
	return o
}
