package shrink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
)

// planOf returns n faults, one second apart, that last half a second each.
func planOf(n int) harness.Plan {
	var p harness.Plan
	for i := range n {
		p = append(p, harness.Step{Fault: fmt.Sprint(i), At: time.Duration(i+1) * time.Second, For: 500 * time.Millisecond})
	}
	return p
}

func names(p harness.Plan) (all []string) {
	for _, s := range p {
		all = append(all, s.Fault)
	}
	return all
}

// The function `needs` returns a function that reports whether a trial violates a property. A trial
// violates the property if two things are true. Its plan has all the named faults, each for at
// least the time `least`. The trial has at least the given number of clients.
func needs(least time.Duration, clients int, faults ...string) Violates {
	return func(_ context.Context, t Trial) (bool, error) {
		for _, name := range faults {
			if !slices.ContainsFunc(t.Plan, func(s harness.Step) bool { return s.Fault == name && s.For >= least }) {
				return false, nil
			}
		}
		return t.Clients >= clients, nil
	}
}

func TestOnlyWhatIsNeededRemains(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 1 + r.IntN(40)
		var faults []string
		for _, i := range r.Perm(n)[:r.IntN(min(n, 4)+1)] {
			faults = append(faults, fmt.Sprint(i))
		}
		start := Trial{Plan: planOf(n), Clients: 2 + r.IntN(6), Time: 10 * time.Minute}
		clients := 2 + r.IntN(start.Clients-1)
		small, tried, err := Minimize(t.Context(), start, needs(100*time.Millisecond, clients, faults...))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(faults)
		got := names(small.Plan)
		slices.Sort(got)
		if !slices.Equal(got, faults) || small.Clients != clients {
			t.Fatalf("%d faults, of which %v and %d clients are needed: got %v and %d", n, faults, clients, got, small.Clients)
		}
		for _, s := range small.Plan {
			if s.For >= 250*time.Millisecond {
				t.Fatalf("fault %s lasts %v, want less than 250 ms, because 100 ms are needed", s.Fault, s.For)
			}
		}
		if small.Time >= time.Minute || tried > 600 {
			t.Fatalf("got %v of work after %d trials, want less than 1 m and at most 600 trials", small.Time, tried)
		}
	}
}

func TestResultAlwaysViolates(t *testing.T) {
	// The violation occurs at random. Only a trial that violated the property may be returned.
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		start := Trial{Plan: planOf(20), Clients: 5, Time: time.Minute}
		last := start
		small, _, err := Minimize(t.Context(), start, func(_ context.Context, t Trial) (bool, error) {
			if r.IntN(3) != 0 {
				return false, nil
			}
			last = t
			return true, nil
		})
		if err != nil || !equal(small, last) {
			t.Fatalf("got %+v, want %+v, which violated last; error %v", small, last, err)
		}
	}
}

func TestTheEndOfTheContextKeepsWhatWasFound(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tried := 0
	small, _, err := Minimize(ctx, Trial{Plan: planOf(32), Clients: 2, Time: time.Minute}, func(ctx context.Context, t Trial) (bool, error) {
		if tried++; tried == 3 {
			cancel()
			return false, ctx.Err()
		}
		return len(t.Plan) >= 8, nil
	})
	if err != nil || tried != 3 || len(small.Plan) < 8 || len(small.Plan) == 32 {
		t.Errorf("got %d faults after %d trials, error %v, want 8 to 31 faults after 3 trials", len(small.Plan), tried, err)
	}
}

func TestAnErrorEndsTheSearch(t *testing.T) {
	broken := errors.New("no ensemble")
	_, tried, err := Minimize(t.Context(), Trial{Plan: planOf(8), Clients: 3}, func(context.Context, Trial) (bool, error) { return false, broken })
	if !errors.Is(err, broken) || tried != 1 {
		t.Errorf("got error %v after %d trials, want the error of the first trial", err, tried)
	}
}
