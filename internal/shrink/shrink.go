// Package shrink minimizes a run that violates a property: it searches for fewer and shorter
// faults, less time, fewer clients and fewer operations that still violate the same property.
//
// The package only needs a function that reports whether a trial violates the property. In virtual
// time, the function's result depends only on the trial. On real servers the result also depends on
// chance, so the function may run a trial several times.
package shrink

import (
	"context"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
)

// Trial is a run with parameters that Minimize reduces.
type Trial struct {
	Plan    harness.Plan
	Clients int
	Time    time.Duration // of the work
	// Operations is the maximum number of operations; zero means no limit.
	Operations int
}

// Violates reports whether a trial still violates the property. Its error ends the search.
type Violates func(ctx context.Context, t Trial) (bool, error)

// The constant `fewest` is the number of clients that any contention needs.
const fewest = 2

// The constant `slack` is the minimum time of work after the last fault.
const slack = time.Second

// Minimize returns the smallest trial that it finds, and the number of trials. It starts with t,
// which must violate the property. If ctx ends, it returns the smallest trial so far, without an
// error.
func Minimize(ctx context.Context, t Trial, violates Violates) (Trial, int, error) {
	s := &search{ctx: ctx, best: t, violates: violates}
	for {
		before := s.best
		s.prefix() // first, because it makes every later trial cheaper
		s.faults()
		s.durations()
		s.time()
		s.clients()
		s.operations()
		if s.err != nil || ctx.Err() != nil || equal(before, s.best) {
			return s.best, s.tried, s.err
		}
	}
}

func equal(a, b Trial) bool {
	return a.Clients == b.Clients && a.Time == b.Time && a.Operations == b.Operations && slices.Equal(a.Plan, b.Plan)
}

type search struct {
	ctx      context.Context
	best     Trial
	violates Violates
	tried    int
	err      error
}

// The method `try` runs t. If t violates the property, t becomes the best trial so far.
func (s *search) try(t Trial) bool {
	if s.err != nil || s.ctx.Err() != nil {
		return false
	}
	s.tried++
	found, err := s.violates(s.ctx, t)
	if err != nil {
		if s.ctx.Err() == nil {
			s.err = err
		}
		return false
	}
	if found {
		s.best = t
	}
	return found
}

// The method `prefix` repeatedly halves the run while the violation remains. It keeps only the
// faults that are healed at least `slack` before the new end.
func (s *search) prefix() {
	for half := s.best.Time / 2; half >= slack; half /= 2 {
		t := s.best
		t.Time = half.Round(100 * time.Millisecond)
		t.Plan = slices.DeleteFunc(slices.Clone(t.Plan), func(step harness.Step) bool { return step.At+step.For+slack > t.Time })
		if !s.try(t) {
			return
		}
	}
}

// The method `faults` removes faults from the plan by the algorithm ddmin (Zeller and Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input"). It tries plans that consist of one part of
// the plan, and plans without one part. If none of these plans violates the property, it divides
// the plan into smaller parts.
func (s *search) faults() {
	if len(s.best.Plan) == 0 {
		return
	}
	none := s.best
	none.Plan = harness.Plan{}
	if s.try(none) {
		return
	}
	for parts := 2; len(s.best.Plan) >= 2; {
		switch n := len(s.best.Plan); {
		case s.keepOne(parts):
			parts = 2
		case s.dropOne(parts):
			parts = max(parts-1, 2)
		case parts >= n, s.ctx.Err() != nil, s.err != nil:
			return
		default:
			parts = min(2*parts, n)
		}
	}
}

// keepOne tries plans that consist of one part of the plan. It keeps the first that violates the
// property.
func (s *search) keepOne(parts int) bool {
	if parts == 2 { // dropOne tries the same plans: of two parts, it drops one and keeps the other
		return false
	}
	plan := s.best.Plan
	for i := range parts {
		from, to := bounds(len(plan), parts, i)
		if s.withPlan(slices.Clone(plan[from:to])) {
			return true
		}
	}
	return false
}

// dropOne tries plans without one of the parts. It keeps the first that violates the property.
func (s *search) dropOne(parts int) bool {
	plan := s.best.Plan
	for i := range parts {
		from, to := bounds(len(plan), parts, i)
		if s.withPlan(slices.Concat(plan[:from], plan[to:])) {
			return true
		}
	}
	return false
}

func (s *search) withPlan(p harness.Plan) bool {
	t := s.best
	t.Plan = p
	return s.try(t)
}

func bounds(n, parts, i int) (from, to int) { return i * n / parts, (i + 1) * n / parts }

// The method `durations` repeatedly halves the duration of each fault while the violation remains.
func (s *search) durations() {
	for i := range s.best.Plan {
		for {
			half := (s.best.Plan[i].For / 2).Round(time.Millisecond)
			if half < 10*time.Millisecond {
				break
			}
			p := slices.Clone(s.best.Plan)
			p[i].For = half
			if !s.withPlan(p) {
				break
			}
		}
	}
}

// The method `time` moves all faults towards the start of the work, and then repeatedly halves the
// time of the work. Each of these steps is repeated while the violation remains. At least `slack`
// of work remains after the last fault.
func (s *search) time() {
	if len(s.best.Plan) > 0 {
		for first := s.best.Plan[0].At / 2; first >= 10*time.Millisecond; first /= 2 {
			t := s.best
			t.Plan = slices.Clone(t.Plan)
			for i := range t.Plan {
				t.Plan[i].At -= first.Round(time.Millisecond)
			}
			if !s.try(t) {
				break
			}
		}
	}
	end := time.Duration(0)
	for _, step := range s.best.Plan {
		end = max(end, step.At+step.For)
	}
	for shorter := s.best.Time / 2; shorter >= max(end+slack, slack); shorter /= 2 {
		t := s.best
		t.Time = shorter.Round(100 * time.Millisecond)
		if !s.try(t) {
			break
		}
	}
}

func (s *search) clients() {
	for s.best.Clients > fewest {
		t := s.best
		t.Clients--
		if !s.try(t) {
			return
		}
	}
}

// The method `operations` limits the number of operations. It tries a small limit first, and
// doubles the limit until a trial violates the property. It begins with a small limit because a
// trial with few operations takes little time.
func (s *search) operations() {
	const fewest, most = 4, 4096
	for n := fewest; n <= most && (s.best.Operations == 0 || n < s.best.Operations); n *= 2 {
		t := s.best
		t.Operations = n
		if s.try(t) {
			return
		}
	}
}
