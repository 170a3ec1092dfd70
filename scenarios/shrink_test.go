package scenarios

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/shrink"
)

// In this test a run of ten minutes with dozens of faults is minimized. The generated Go test,
// pasted into this package, fails the same way as the run.
func TestPastedTestOfASmallRunFailsTheSameWay(t *testing.T) {
	s, err := Named("isolated-follower+zk-lock")
	if err != nil {
		t.Fatal(err)
	}
	o := VirtualOptions(s, 1)
	o.Time, o.Intensity = 10*time.Minute, 0.7
	big := virtually(t, s, o)
	if failed := big.Failed(); len(failed) == 0 || failed[0].ID != "lock/no-overlap" || len(big.Plan) < 30 {
		t.Fatalf("got %v violated by a plan of %d faults, want lock/no-overlap and at least 30",
			failed, len(big.Plan))
	}
	begun := time.Now()
	small, err := shrink.Run(t.Context(), big, 2, func(_ context.Context, tr shrink.Trial) (*harness.Result, error) {
		return virtually(t, s, tr.Options(VirtualOptions(s, 1))), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d faults became %d, %d clients, %v and %d operations in %v and %d trials",
		len(big.Plan), len(small.Plan), small.Clients, small.Time, small.Operations, time.Since(begun).Round(time.Second/10), small.Tried)
	if len(small.Plan) > 3 {
		t.Errorf("got %d faults after minimization, want at most 3", len(small.Plan))
	}
	out := paste(t, report.GoTest(small.Result, small.Property))
	for _, want := range []string{"--- FAIL: TestIsolatedFollowerZkLockLockNoOverlap", "lock/no-overlap", "INVALID", "both held"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output of the pasted test does not contain %q:\n%s", want, out)
		}
	}
}

// The function `paste` runs the tests of `source` as if it were a file of this package.
func paste(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	here, err := filepath.Abs("pasted_test.go")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{here: write("pasted.go", []byte(source))}})
	if err != nil {
		t.Fatal(err)
	}
	test := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-overlay", write("overlay.json", overlay), "-run", "LockNoOverlap$", ".")
	out, err := test.CombinedOutput()
	if _, failed := err.(*exec.ExitError); !failed {
		t.Fatalf("go test of the pasted test: got error %v, want that it fails\n%s", err, out)
	}
	return string(out)
}
