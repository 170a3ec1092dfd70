package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnotherFileIsNoLedger(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, LedgerFile)
	if err := os.WriteFile(file, []byte("notes of somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenLedger(dir, "zkcoord soak", 7)
	if text, _ := os.ReadFile(file); err == nil || string(text) != "notes of somebody" {
		t.Errorf("got error %v and the file %q, want an error and the file as it was", err, text)
	}
}

// Bug: after a campaign that was killed while it wrote the first line, no campaign could begin in
// the directory.
func TestLedgerBeginsAgainAfterAnIncompleteFirstLine(t *testing.T) {
	for _, left := range []string{"", `{"settings":"zkcoord so`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, LedgerFile), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it continues
			l, err := OpenLedger(dir, "zkcoord soak", 7)
			if err != nil {
				t.Fatalf("after %q: got error %v", left, err)
			}
			text, err := os.ReadFile(l.file())
			if err != nil || l.Begun() != 7 || strings.Count(string(text), "\n") != 1 {
				t.Errorf("after %q: got seed %d and the file %q (%v), want seed 7 and one line", left, l.Begun(), text, err)
			}
		}
	}
}
