package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/report"
)

// settingUp returns a scenario whose setup calls the function `do`. If `do` fails, the run does not
// begin.
func settingUp(do func() error) harness.Scenario {
	s := alwaysViolated()
	s.Workload = func(*harness.Env) harness.Workload {
		return harness.Workload{Setup: func(context.Context, *harness.Env) error { return do() }}
	}
	return s
}

// Regression: an interrupt before the first run was reported as a failure to start.
func TestInterruptBeforeTheFirstRoundIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := settingUp(func() error { cancel(); return ctx.Err() })
	err := quietApp().chaos(ctx, []harness.Scenario{at}, runFlags{ensemble: "embedded", time: time.Millisecond, intensity: 1})
	if !errors.Is(err, codeError(exitUnknown)) {
		t.Errorf("got error %v, want %v", err, codeError(exitUnknown))
	}
}

// However chaos ends, it reports the completed rounds, and a violation determines the exit code.
// Regression: if a later round could not begin or was interrupted, the exit code did not show the
// violation of an earlier round. A round that could not be stored was not reported or counted.
func TestChaosEndsWithTheVerdictOfItsRounds(t *testing.T) {
	broken := settingUp(func() error { return errors.New("broken") })
	idle := alwaysViolated()
	idle.Checkers = []checker.Checker{checker.New("X2", "nothing is seen", func(*history.History, *checker.Judge) {})}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir()) // runs are stored there if their store fails
	for name, one := range map[string]struct {
		store       string
		first, next harness.Scenario
		want        error
	}{
		"a full store":                 {file, alwaysViolated(), alwaysViolated(), codeError(exitInvalid)},
		"no next round":                {"", alwaysViolated(), broken, codeError(exitInvalid)},
		"interrupted between":          {"", alwaysViolated(), harness.Scenario{}, codeError(exitInvalid)},
		"interrupted after no verdict": {"", idle, harness.Scenario{}, codeError(exitUnknown)},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if one.next.Name == "" {
			one.next = settingUp(func() error { cancel(); return ctx.Err() })
		}
		a, out := quietApp(), new(strings.Builder)
		a.out = &output{Writer: out}
		err := a.chaos(ctx, []harness.Scenario{one.first, one.next}, runFlags{ensemble: "embedded", time: time.Millisecond, intensity: 1, store: one.store})
		if !errors.Is(err, one.want) || strings.Count(out.String(), "seed") != 1 || !strings.Contains(out.String(), "1 rounds in") {
			t.Errorf("%s: got error %v, want %v, and one reported round\n%s", name, err, one.want, out)
		}
	}
}

func TestViolationIsKeptAfterManyRoundsThatExercisedNothing(t *testing.T) {
	keep := &failures{Store: report.Open(t.TempDir()), kept: make(map[checker.Verdict]int)}
	save := func(v checker.Verdict, n int) (dir string) {
		r := &harness.Result{Scenario: "lock", Start: time.Unix(int64(n), 0).UTC(), Verdict: v, Checked: true, History: history.New()}
		if err := keep.Save(r); err != nil {
			t.Fatal(err)
		}
		return keep.Dir(r)
	}
	for n := range keptFailures {
		save(checker.NotExercised, n)
	}
	if dir := save(checker.NotExercised, keptFailures); dir != "" {
		t.Errorf("got one more run stored in %s, want it not stored, because %d runs are "+
			"already stored", dir, keptFailures)
	}
	if save(checker.Invalid, keptFailures+1) == "" {
		t.Errorf("got no directory for a violation after %d runs that exercised nothing, want "+
			"it stored", keptFailures+1)
	}
}

// Regression: the rounds of a soak lasted 20 s even for scenarios that need a minute, and exercised
// nothing.
func TestARoundLastsAsLongAsItsScenarioNeeds(t *testing.T) {
	c := &rounds{
		chosen: []harness.Scenario{{Name: "short"}, {Name: "long", Time: time.Minute}},
		flags:  runFlags{time: 20 * time.Second, seed: 7, zookeeper: "3.8,3.9.6"},
	}
	for n, want := range []runFlags{
		{time: 20 * time.Second, seed: 7, zookeeper: "3.8"},
		{time: time.Minute, seed: 8, zookeeper: "3.8"},
		{time: 20 * time.Second, seed: 9, zookeeper: "3.9.6"},
		{time: time.Minute, seed: 10, zookeeper: "3.9.6"},
		{time: 20 * time.Second, seed: 11, zookeeper: "3.8"},
	} {
		f, s := c.round(n)
		if f.time != want.time || f.seed != want.seed || f.zookeeper != want.zookeeper || s.Name != c.chosen[n%2].Name {
			t.Errorf("round %d: got %s for %v with seed %d on %s, want %s, %v, %d and %s",
				n, s.Name, f.time, f.seed, f.zookeeper,
				c.chosen[n%2].Name, want.time, want.seed, want.zookeeper)
		}
	}
}
