package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Regression: OpenLedger accepted a file whose first line has no settings. Such a file is no
// ledger. OpenLedger also removed the incomplete last line of another command's ledger, although it
// returned an error.
func TestAnotherFileIsNoLedger(t *testing.T) {
	for text, want := range map[string]string{
		"notes of somebody": "line 1",
		"{}\n":              "line 1",
		`{"seed":3}` + "\n" + `{"round":0}` + "\n":               "line 1",
		`{"settings":"zkcoord other","seed":3}` + "\n" + `{"rou`: "zkcoord other",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, LedgerFile)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenLedger(dir, "zkcoord soak", 7)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one that contains %q", text, err, want)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%q: got the file %q afterwards, want no change", text, got)
		}
	}
}

// Regression: if a campaign was killed while it wrote the first line, no later campaign could begin
// in the directory.
func TestLedgerBeginsAgainAfterAnIncompleteFirstLine(t *testing.T) {
	for _, left := range []string{"", `{"settings":"zkcoord so`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, LedgerFile), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first campaign begins the ledger, the second continues it
			l, err := OpenLedger(dir, "zkcoord soak", 7)
			if err != nil {
				t.Fatalf("after %q: got error %v, want none", left, err)
			}
			text, err := os.ReadFile(l.file())
			if err != nil || l.Begun() != 7 || strings.Count(string(text), "\n") != 1 {
				t.Errorf("after %q: got seed %d and the file %q (%v), want seed 7 and one line", left, l.Begun(), text, err)
			}
		}
	}
}
