package report

import (
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
)

func TestTotalsAddUpRoundsByScenarioVersionAndFault(t *testing.T) {
	var totals Totals
	valid, invalid := checker.Valid, checker.Invalid
	add := func(n int, scenario, version string, v *checker.Verdict, faults ...FaultRound) {
		totals.Add(Round{Number: n, Seed: uint64(n), Scenario: scenario, Version: version, Verdict: v, Took: 30 * time.Second,
			OK: 300, Failed: 100, Grants: n, Faults: faults, Heap: 3 << 20, Goroutines: 9})
	}
	add(0, "lock", "3.8", &valid, FaultRound{"kill-leader", true, time.Second}, FaultRound{"kill-leader", false, -1})
	add(1, "watch", "3.9", &valid)
	add(2, "lock", "3.9", &invalid, FaultRound{"kill-leader", true, 2 * time.Second})
	add(3, "watch", "3.8", nil)
	var out strings.Builder
	if err := totals.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	const want = `4 rounds in 2m0s: 1 INVALID, 2 valid, 1 could not begin
1,200 operations succeeded, 400 did not; 2 faults took effect, longest recovery 2s
heap 3.0 MB after 4 rounds, 3.0 MB now, at most 3.0 MB; 9 goroutines, at most 9

Scenarios
scenario  rounds  valid  invalid  inconclusive  operations/s  grants in logs  not successful  faults/min  exposure  longest recovery
lock      2       1      1        0             10.0          2               25.0 %          2.0         0s        2s
watch     2       1      0        1             10.0          4               25.0 %          0.0         0s        0s

Versions of ZooKeeper
version  rounds  valid  invalid  inconclusive  operations/s  grants in logs  not successful  faults/min  exposure  longest recovery
3.8      2       1      0        1             10.0          3               25.0 %          1.0         0s        1s
3.9      2       1      1        0             10.0          3               25.0 %          1.0         0s        2s

Faults
fault        injected  took effect  share  rounds  of these invalid  longest recovery
kill-leader  3         2            67 %   2       1                 2s

Seeds of rounds that are not valid
seed  scenario  ZooKeeper  verdict          reason  again
2     lock      3.9        INVALID                  
3     watch     3.8        could not begin          
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := totals.Confidence(); got != "" {
		t.Errorf("confidence with a violation: got %q, want none", got)
	}
}

// At least 59 valid rounds are necessary for 95 % confidence that less than 5 % of rounds are
// invalid. If 5 % were invalid, the probability of 59 valid rounds would be 0.95^59. This is 4.8 %,
// which is less than 5 %.
func TestConfidenceOfRoundsWithoutAViolation(t *testing.T) {
	var totals Totals
	valid := checker.Valid
	for n := range 59 {
		totals.Add(Round{Number: n, Scenario: "lock", Verdict: &valid})
	}
	const want = "with 95 % confidence, less than 5 % of such rounds are invalid"
	if got := totals.Confidence(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Regression: Confidence also counted rounds that were unknown or not exercised, although such
	// rounds are no evidence. So the rate of invalid rounds that it reported was too low.
	unknown, notExercised := checker.Unknown, checker.NotExercised
	var inconclusive Totals
	for _, v := range []*checker.Verdict{&unknown, &notExercised, nil} {
		totals.Add(Round{Scenario: "lock", Verdict: v})
		inconclusive.Add(Round{Scenario: "lock", Verdict: v})
	}
	if got := totals.Confidence(); got != want {
		t.Errorf("with inconclusive rounds: got %q, want %q", got, want)
	}
	if got := inconclusive.Confidence(); got != "" {
		t.Errorf("with inconclusive rounds alone: got %q, want none", got)
	}
}
