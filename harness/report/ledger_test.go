package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
