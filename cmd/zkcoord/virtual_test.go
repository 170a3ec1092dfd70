package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/scenarios"
)

// alwaysViolated returns a scenario that does nothing and is invalid.
func alwaysViolated() harness.Scenario {
	return harness.Scenario{
		Name: "always-violated", Workload: harness.Noop, Calm: time.Millisecond,
		Checkers: []checker.Checker{checker.New("X1", "nothing happens", func(h *history.History, j *checker.Judge) {
			j.Violation(h.Events[:1], "something did")
		})},
	}
}

func quietApp() *app { return &app{out: &output{Writer: io.Discard}, errs: io.Discard} }

// Regression: a run that needed another process was minimized. The minimization blocked without
// end, because such a run cannot be repeated in virtual time.
func TestRunWithProcessesIsNotMinimized(t *testing.T) {
	for needs, want := range map[string]int{"": 1, "a program of some other library": 0} {
		a, s := quietApp(), alwaysViolated()
		s.Needs = needs
		err := a.runOne(t.Context(), s, runFlags{ensemble: "embedded", time: time.Millisecond, timeGiven: true, intensity: 1})
		if !errors.Is(err, codeError(exitInvalid)) || len(a.invalid) != want {
			t.Errorf("scenario that needs %q: got error %v and %d runs to minimize, want %v and %d",
				needs, err, len(a.invalid), codeError(exitInvalid), want)
		}
	}
}

// Regression: one seed gave different plans in the command and in the scenarios' tests. The command
// chose from another list of faults, and made a plan of another length.
func TestSeedIsOnePlanInTestsAndInTheCommand(t *testing.T) {
	for _, s := range []harness.Scenario{scenarios.LockFaults(), scenarios.Election(), scenarios.IsolatedFollower()} {
		t.Run(s.Name, func(t *testing.T) {
			store := t.TempDir()
			a := quietApp()
			a.bubble = func(f func()) { virtual.Test(t, func(*testing.T) { f() }) }
			args := []string{"run", s.Name, "--virtual", "--seed", "7", "--store", store}
			if err := a.root().execute(t.Context(), args); err != nil {
				t.Fatalf("zkcoord %q: got error %v, want none", args, err)
			}
			got, err := report.ReadPlan(filepath.Join(store, "latest", report.FaultsFile))
			if err != nil {
				t.Fatal(err)
			}
			var want *harness.Result
			a.bubble(func() { want, err = harness.Run(context.Background(), s, scenarios.VirtualOptions(s, 7)) })
			if err != nil {
				t.Fatalf("the run of the tests: %v", err)
			}
			if len(got) == 0 || !slices.Equal(got, want.Plan) {
				t.Errorf("got the plan\n%+v\nfrom the command, want the plan of the tests\n%+v", got, want.Plan)
			}
		})
	}
}
