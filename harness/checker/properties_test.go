package checker

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Properties that are one look at one event: an oracle would be the checker again.
var obvious = []string{"G3", "G4", "M7", "P2", "Q7"}

// Properties with an oracle of another form: together, or of one kind each.
var otherOracles = map[string][]string{
	"TestQueueCheckersAgreeWithTheOracle":  {"Q1", "Q3", "Q4", "Q5"},
	"TestHoldCheckersAgreeWithTheOracle":   {"E3", "M3", "P1", "RW1"},
	"TestRegisterCheckersAgainstPorcupine": {"Z1", "Z2", "Z3"},
}

// guard reports whether a property is about the run, not about what ran: it is never invalid.
func guard(id string) bool { return id[0] == 'H' || id[0] == 'V' || id == "RW2" }

// TestEachPropertyIsTested: histories by hand, legal ones of which one edit is flagged, and an oracle. Those by hand are asked for
// in TestHandMadeHistories.
func TestEachPropertyIsTested(t *testing.T) {
	checkers, edits, oracles := underTest(), edits(), oracles()
	for _, id := range declared(t) {
		if guard(id) {
			continue
		}
		if _, known := checkers[id]; !known {
			t.Errorf("%s: underTest does not have it", id)
		}
		if _, known := edits[id]; !known {
			t.Errorf("%s: no edit of a legal history is tried", id)
		}
		_, known := oracles[id]
		for _, ids := range otherOracles {
			known = known || slices.Contains(ids, id)
		}
		if !known && !slices.Contains(obvious, id) {
			t.Errorf("%s: no oracle", id)
		}
	}
}

// declared are the ids that the package's files make checkers for.
func declared(t *testing.T) (ids []string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`(?:New|AtLeast)\("([A-Z]+[0-9]+)"`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made.FindAllSubmatch(text, -1) {
			ids = append(ids, string(m[1]))
		}
	}
	if slices.Sort(ids); len(ids) < 50 {
		t.Fatalf("found only %q", ids)
	}
	return slices.Compact(ids)
}
