package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

func result() *harness.Result {
	h := history.New(
		history.Event{Kind: history.Hold, Op: history.HoldBegin, Object: "/lock", Token: 1},
		history.Event{Kind: history.Fault, Op: history.FaultStart, Object: "kill", Node: "n0", Step: 1, Client: history.Nobody, Process: history.Nobody},
		history.Event{Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody},
	)
	return &harness.Result{
		Scenario: "lock", Seed: 7, Start: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Took: time.Second, History: h,
		Plan: harness.Plan{{Fault: "kill", At: time.Second, For: 2 * time.Second, Target: "n0"}},
		Logs: map[int][]byte{1: []byte("log")}, Verdict: checker.Invalid,
		Results: []checker.Result{
			{Property: checker.Property{ID: "lock/tokens-rise"}, Verdict: checker.Valid, Checked: 1},
			{Property: checker.Property{ID: "lock/no-overlap", Claim: "a < b"}, Verdict: checker.Invalid, Reason: "both held", Events: h.Events[:1]},
			{Property: checker.Property{ID: "lock/no-release-after-loss"}, Verdict: checker.NotExercised, Optional: true},
			{Property: checker.Property{ID: "run/whole"}, Verdict: checker.Unknown, Reason: "interrupted"},
		},
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestHistoryIsKeptBeforeTheVerdict(t *testing.T) {
	s, r := Open(t.TempDir()), result()
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, s.Dir(r)), []string{FaultsFile, HistoryFile, TextFile}; !reflect.DeepEqual(got, want) {
		t.Errorf("before the verdict: got files %v, want %v", got, want)
	}
	r.Checked = true
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	want := []string{FaultsFile, HistoryFile, TextFile, JUnitFile, "node1.log", HTMLFile, ResultFile, SummaryFile}
	if got := names(t, filepath.Join(filepath.Dir(s.Dir(r)), "latest")); !reflect.DeepEqual(got, want) {
		t.Errorf("after the verdict: got files %v, want %v", got, want)
	}
}

func TestWhatIsStoredReadsBack(t *testing.T) {
	dir := t.TempDir()
	s, r := Open(dir), result()
	r.Checked = true
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHistory(filepath.Join(dir, "latest"))
	if err != nil {
		t.Fatalf("read the history: got error %v, want none", err)
	}
	if !reflect.DeepEqual(h.Events, r.History.Events) {
		t.Errorf("got events %#v, want %#v", h.Events, r.History.Events)
	}
	plan, err := ReadPlan(filepath.Join(dir, "latest", FaultsFile))
	if err != nil || !reflect.DeepEqual(plan, r.Plan) {
		t.Errorf("got plan %v, error %v, want %v", plan, err, r.Plan)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "latest", ResultFile))
	var file struct {
		Verdict checker.Verdict
		Seed    uint64
		Results []struct {
			ID, Reason string
			Verdict    checker.Verdict
			Proof      []string
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("parse %s: %v", ResultFile, err)
	}
	if file.Verdict != checker.Invalid || file.Seed != 7 || len(file.Results) != 4 || len(file.Results[1].Proof) != 1 {
		t.Errorf("got result %+v, want it invalid with seed 7, 4 properties, and 1 event that proves the second", file)
	}
	var suite junitSuite
	data, _ = os.ReadFile(filepath.Join(dir, "latest", JUnitFile))
	if err := xml.Unmarshal(data, &suite); err != nil {
		t.Fatalf("parse %s: %v", JUnitFile, err)
	}
	if suite.Tests != 4 || suite.Failures != 1 || suite.Errors != 1 || suite.Skipped != 1 {
		t.Errorf("got suite %+v, want 4 tests with one failure, one error and one skipped", suite)
	}
}

func TestRunsOfOneInstantDoNotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	a, b, r := Open(dir), Open(dir), result()
	if err := errors.Join(a.Save(r), b.Save(r)); err != nil {
		t.Fatal(err)
	}
	if a.Dir(r) == b.Dir(r) {
		t.Errorf("both runs are in %s, want two directories", a.Dir(r))
	}
}

func TestScenarioNameStaysInTheStore(t *testing.T) {
	dir := t.TempDir()
	s, r := Open(dir), result()
	r.Scenario = "../../out"
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	if rel, err := filepath.Rel(dir, s.Dir(r)); err != nil || strings.HasPrefix(rel, "..") {
		t.Errorf("got the run in %s (%v), want it below %s", s.Dir(r), err, dir)
	}
}

func TestUnwritableStoreIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", file)
	const want = "the run cannot be stored in a temporary directory either"
	if err := Open(file).Save(result()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one that contains %q", err, want)
	}
}

func TestRunThatItsStoreDoesNotTakeIsStoredElsewhere(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	dir := t.TempDir()
	s, r := Open(dir), result()
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	// The disk fails between the history and the verdict.
	if err := os.RemoveAll(s.Dir(r)); err != nil {
		t.Fatal(err)
	}
	r.Checked, r.Verdict = true, checker.Invalid
	err := s.Save(r)
	if err == nil || !strings.HasPrefix(s.Dir(r), temporary) || !strings.Contains(err.Error(), s.Dir(r)) {
		t.Fatalf("got the run in %s and error %v, want it below %s, and an error that names its "+
			"directory", s.Dir(r), err, temporary)
	}
	if d, err := ReadDocument(s.Dir(r)); err != nil || d.Verdict != checker.Invalid {
		t.Errorf("stored document: got verdict %v, error %v, want %v", d.Verdict, err, checker.Invalid)
	}
	if h, err := ReadHistory(s.Dir(r)); err != nil {
		t.Errorf("read the history: got error %v, want none", err)
	} else if len(h.Events) != len(r.History.Events) {
		t.Errorf("got a history of %d events, want %d", len(h.Events), len(r.History.Events))
	}
}

func TestSummaryIsShortAndSaysWhatToDo(t *testing.T) {
	r := result()
	r.Command = "zkcoord run lock --seed 7"
	r.Results = append(r.Results, checker.Result{Property: checker.Property{ID: "run/rare", Claim: "something rare happened"}, Verdict: checker.NotExercised, Optional: true})
	for n := range 40 {
		r.Results = append(r.Results, checker.Result{Property: checker.Property{ID: "X" + string(rune('0'+n))}, Verdict: checker.Valid})
	}
	text := r.Summary()
	if lines := strings.Count(text, "\n"); lines > 25 {
		t.Errorf("the summary has %d lines, want at most 25", lines)
	}
	for _, part := range []string{"INVALID", "lock/no-overlap: both held", "hold begin /lock", "kill x1", "seed 7", r.Command, "rare happened (optional)\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("the summary does not contain %q:\n%s", part, text)
		}
	}
}
