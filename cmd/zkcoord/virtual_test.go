package main

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// alwaysViolated is a scenario that does nothing, and is found invalid.
func alwaysViolated() harness.Scenario {
	return harness.Scenario{
		Name: "always-violated", Workload: harness.Noop, Calm: time.Millisecond,
		Checkers: []checker.Checker{checker.New("X1", "nothing happens", func(h *history.History, j *checker.Judge) {
			j.Violation(h.Events[:1], "something did")
		})},
	}
}

func quietApp() *app { return &app{out: &output{Writer: io.Discard}, errs: io.Discard} }

// To be made small it would have to run in virtual time, where other processes have no part: it hung.
func TestWhatNeedsProcessesIsNotMadeSmall(t *testing.T) {
	for needs, want := range map[string]int{"": 1, "a program of some other library": 0} {
		a, s := quietApp(), alwaysViolated()
		s.Needs = needs
		err := a.runOne(t.Context(), s, runFlags{ensemble: "embedded", time: time.Millisecond, timeGiven: true, intensity: 1})
		if !errors.Is(err, codeError(exitInvalid)) || len(a.invalid) != want {
			t.Errorf("of a scenario that needs %q: %v, and %d runs are to be made small, want %d", needs, err, len(a.invalid), want)
		}
	}
}
