package harness

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
)

// Kill is the result for a mutant: killed, survived, or not run.
type Kill struct {
	Scenario string   `json:"scenario"`
	Mutant   string   `json:"mutant"`
	Report   string   `json:"report"`
	Violates []string `json:"violates"` // a violation of any of these properties kills it
	Needs    string   `json:"needs,omitempty"`
	// Violated is the property that was found violated. It is empty if the mutant survived or
	// was not run.
	Violated string `json:"violated,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Seeds is the number of runs; zero means not run.
	Seeds int `json:"seeds"`
	// Within is the sum of the lengths of these runs, on the clocks of their histories. A run with
	// a violation counts up to the violation.
	Within time.Duration `json:"within_ns"`
}

// Killed reports whether the mutant was killed.
func (k Kill) Killed() bool { return k.Violated != "" }

// NewKill returns the result for a mutant of s that was not run.
func NewKill(s Scenario, m Mutant) Kill {
	return Kill{Scenario: s.Name, Mutant: m.Name, Report: m.Report, Violates: m.Violates, Needs: m.Needs}
}

// Hunt calls the function `run` for the mutant m of s, with seeds 0, 1, 2 and so on. It stops when
// a run finds a property in m.Violates violated, or when the number of seeds is reached. If `run`
// returns an error, Hunt ends, and Kill.Seeds counts only the earlier runs.
func Hunt(s Scenario, m Mutant, seeds int, run func(s Scenario, seed uint64) (*Result, error)) (Kill, error) {
	k := NewKill(s, m)
	for seed := range uint64(seeds) {
		r, err := run(s.Mutate(m), seed)
		if err != nil {
			return k, fmt.Errorf("%s/%s with seed %d: %w", s.Name, m.Name, seed, err)
		}
		k.Seeds++
		if one, found := r.killedBy(m); found {
			k.Violated, k.Reason = one.ID, one.Reason
			k.Within += violatedAt(one, r)
			return k, nil
		}
		k.Within += r.History.End()
	}
	return k, nil
}

// violatedAt returns the time of the last event that proves the violation, on the clock of the
// history. If no event proves it, the result is the end of the history.
func violatedAt(one checker.Result, r *Result) time.Duration {
	if n := len(one.Events); n > 0 {
		return one.Events[n-1].Time
	}
	return r.History.End()
}

// Killed reports whether one of the properties in m.Violates is Invalid.
func (r *Result) Killed(m Mutant) bool {
	_, found := r.killedBy(m)
	return found
}

// The method `exposed` reports whether a property in m.Violates has exposure. A property has
// exposure if it did not hold for some time under conditions for which it is not promised (outside
// the envelope). The mutant may have caused this. But exposure is not a violation, so it does not
// kill the mutant.
func (r *Result) exposed(m Mutant) bool {
	for _, id := range m.Violates {
		if one, judged := r.Of(id); judged && one.Exposure > 0 {
			return true
		}
	}
	return false
}

func (r *Result) killedBy(m Mutant) (checker.Result, bool) {
	for _, id := range m.Violates {
		if one, judged := r.Of(id); judged && one.Verdict == checker.Invalid {
			return one, true
		}
	}
	return checker.Result{}, false
}
