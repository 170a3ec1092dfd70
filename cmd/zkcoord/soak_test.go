package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/report"
)

// soakRounds runs rounds of 1 ms in dir until n rounds have been added to the ledger.
func soakRounds(t *testing.T, dir string, n int, s harness.Scenario) (*report.Ledger, error) {
	t.Helper()
	l, err := report.OpenLedger(dir, "zkcoord soak x", 7)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := quietApp()
	c := &rounds{app: a, chosen: []harness.Scenario{s}, flags: runFlags{ensemble: "embedded", time: time.Millisecond, intensity: 1, seed: l.Begun()},
		keep: newFailures(""), totals: l.Totals(), ledger: l, first: l.Totals().All.Rounds, retry: 2}
	for do := range c.all(ctx) {
		err = do()
		if n--; n == 0 {
			cancel()
		}
	}
	return l, err
}

// In this test, a soak was killed while it wrote the line about a round. The soak that continues
// must repeat this round.
func TestSoakContinuesAfterAnIncompleteLine(t *testing.T) {
	dir := t.TempDir()
	if _, err := soakRounds(t, dir, 2, alwaysViolated()); err != nil {
		t.Fatalf("the first two rounds: got error %v, want none", err)
	}
	file := filepath.Join(dir, report.LedgerFile)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"round":2,"scen`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l, err := soakRounds(t, dir, 2, alwaysViolated())
	if err != nil {
		t.Fatalf("two rounds after the incomplete line: got error %v, want none", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	for n, line := range lines {
		var r report.Round
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Number != n || r.Seed != uint64(7+n) {
			t.Errorf("line %q: got round %d with seed %d, %v; want round %d with seed %d", line, r.Number, r.Seed, err, n, 7+n)
		}
	}
	if len(lines) != 4 || l.Totals().All.Rounds != 4 {
		t.Errorf("got %d lines and %d rounds, want 4", len(lines), l.Totals().All.Rounds)
	}
	if page, err := os.ReadFile(l.Page()); err != nil || !strings.Contains(string(page), "4 INVALID") {
		t.Errorf("got a page of %d bytes, %v; want one that contains %q", len(page), err, "4 INVALID")
	}
}

func TestSoakEndsAfterThreeRoundsThatCouldNotBegin(t *testing.T) {
	broken := settingUp(func() error { return errors.New("broken") })
	l, err := soakRounds(t, t.TempDir(), 9, broken)
	if s := l.Totals().All; err == nil || s.Rounds != 3 || s.NotBegun != 3 {
		t.Errorf("got error %v, %d rounds of which %d did not begin; want an error, 3 rounds of "+
			"which 3 did not begin", err, s.Rounds, s.NotBegun)
	}
}

// The ensemble of a round that found a violation is closed, because the violation must not affect
// the next round. A round that was not exercised leaves its ensemble to the next round.
func TestSoakKeepsTheEnsembleOnlyAfterARoundWithoutAViolation(t *testing.T) {
	idle := alwaysViolated()
	idle.Checkers = []checker.Checker{checker.New("X1", "nothing is judged", func(*history.History, *checker.Judge) {})}
	for name, s := range map[string]harness.Scenario{"idle": idle, "violated": alwaysViolated()} {
		c := &rounds{app: quietApp(), chosen: []harness.Scenario{s}, flags: runFlags{ensemble: "embedded", time: time.Millisecond, intensity: 1},
			keep: newFailures(""), totals: new(report.Totals), kept: &keeper{app: quietApp()}}
		var ensembles []ensemble.Ensemble // after each round
		for n := range 2 {
			if begun, err := c.runOne(t.Context(), n); !begun || err != nil {
				t.Fatalf("round %d of %s: got begun %v, error %v; want a complete round", n, name, begun, err)
			}
			ensembles = append(ensembles, c.kept.kept)
		}
		if kept := ensembles[0] != nil && ensembles[0] == ensembles[1]; kept != (name == "idle") || !kept && ensembles[1] != nil {
			t.Errorf("%s (%v): got ensembles %v after the rounds; want the same one if the rounds are idle, and none if they are violated",
				name, c.totals.All.Words(), ensembles)
		}
		if err := c.kept.close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
