package tutorial

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCounter(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			harness.RunT(t, Counter(), scenarios.VirtualOptions(Counter(), seed))
		})
	}
}

func TestCounterKillsItsMutant(t *testing.T) {
	for _, m := range Counter().Mutants {
		synctest.Test(t, func(t *testing.T) {
			harness.RunMutant(t, Counter(), m, scenarios.VirtualOptions(Counter(), 1))
		})
	}
}

// The histories are written by hand. Some are valid and some are not.
func TestNoneLost(t *testing.T) {
	invoke := history.Event{Kind: history.Invoke, Op: "increment"}
	ok := history.Event{Kind: history.OK, Op: "increment"}
	info := history.Event{Kind: history.Info, Op: "increment"}
	read := func(value string) history.Event {
		return history.Event{Kind: history.Fact, Op: "counter", Result: value, Client: history.Nobody}
	}
	end := history.Event{Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody}
	for _, c := range []struct {
		name   string
		want   checker.Verdict
		events []history.Event
	}{
		{"two done", checker.Valid, []history.Event{invoke, ok, invoke, ok, read("2"), end}},
		{"one indeterminate, and applied", checker.Valid, []history.Event{invoke, ok, invoke, info, read("2"), end}},
		{"one indeterminate, and not applied", checker.Valid, []history.Event{invoke, ok, invoke, info, read("1"), end}},
		{"one lost", checker.Invalid, []history.Event{invoke, ok, invoke, ok, read("1"), end}},
		{"one doubled", checker.Invalid, []history.Event{invoke, ok, invoke, info, read("3"), end}},
		{"never read", checker.Unknown, []history.Event{invoke, ok, end}},
		{"nothing done", checker.NotExercised, []history.Event{read("0"), end}},
	} {
		results := checker.Run(t.Context(), history.New(c.events...), noneLost())
		if got := results[0].Verdict; got != c.want {
			t.Errorf("%s: %v, want %v (%s)", c.name, got, c.want, results[0].Reason)
		}
	}
}

// The code in the tutorial is code of this package.
func TestTutorialHasThisCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range []string{"counter.go", "counter_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 5 {
		t.Fatalf("got %d blocks of code, want at least 5", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(source.String(), block[1]) {
			t.Errorf("the tutorial has code that this package does not:\n%s", block[1])
		}
	}
}
