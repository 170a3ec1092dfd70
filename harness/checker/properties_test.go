package checker

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The list `obvious` has properties that a single event can violate. An oracle for such a property
// would only repeat the checker.
var obvious = []string{"group/changes-add-up", "group/followers-converge", "client/nothing-left", "semaphore/no-permit-lost", "queue/drained-is-empty"}

// otherOracles has the properties whose oracle is in a separate test. The keys are the names of
// these tests.
var otherOracles = map[string][]string{
	"TestQueueCheckersAgreeWithTheOracle":  {"queue/nothing-invented", "queue/nothing-twice", "queue/fifo-order", "queue/empty-is-true"},
	"TestHoldCheckersAgreeWithTheOracle":   {"election/no-overlap", "lock/no-overlap", "semaphore/within-permits", "rwlock/writer-alone"},
	"TestRegisterCheckersAgainstPorcupine": {"register/writes-linearizable", "register/reads-after-sync", "register/reads-sequential"},
}

// The function `guard` reports whether a property is about the run itself and not about the tested
// program. Changed events cannot make such a property invalid.
func guard(id string) bool { return strings.HasPrefix(id, "run/") || id == "rwlock/readers-together" }

// Each property needs an edit that makes legal histories violate it, and an oracle. It also needs
// histories made by hand, which TestHandMadeHistories checks.
func TestEachPropertyIsTested(t *testing.T) {
	checkers, edits, oracles := underTest(), edits(), oracles()
	for _, id := range declared(t) {
		if guard(id) {
			continue
		}
		if _, known := checkers[id]; !known {
			t.Errorf("%s: add its checker to underTest", id)
		}
		if _, known := edits[id]; !known {
			t.Errorf("%s: add an edit that violates it", id)
		}
		_, known := oracles[id]
		for _, ids := range otherOracles {
			known = known || slices.Contains(ids, id)
		}
		if !known && !slices.Contains(obvious, id) {
			t.Errorf("%s: add an oracle, or list it in obvious with a reason", id)
		}
	}
}

// The test checks that the package comment in doc.go lists each property.
func TestDocListsEachProperty(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range declared(t) {
		if !regexp.MustCompile(`(?m)^//\t` + regexp.QuoteMeta(name) + ` `).Match(text) {
			t.Errorf("doc.go does not list %s: add it to the list of properties", name)
		}
	}
}

// The function `declared` returns the ids of the properties for which the package's files make
// checkers.
func declared(t *testing.T) (ids []string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`(?:New|AtLeast)\("([a-z-]+/[a-z-]+)"`)
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
		t.Fatalf("found only the properties %q, want at least 50", ids)
	}
	return slices.Compact(ids)
}
