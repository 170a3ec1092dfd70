package rules

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The command zkcoordvet works with go vet in a module that uses this one, and
// finds nothing in the programs that users copy.
func TestVetTool(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	tool := filepath.Join(t.TempDir(), "zkcoordvet")
	if output, err := exec.CommandContext(ctx, "go", "build", "-o", tool, "./cmd/zkcoordvet").CombinedOutput(); err != nil {
		t.Fatalf("build zkcoordvet: %v\n%s", err, output)
	}
	vet := func(dir string, args ...string) (string, error) {
		run := exec.CommandContext(ctx, "go", append([]string{"vet", "-vettool=" + tool}, args...)...)
		run.Dir = dir
		run.Env = append(os.Environ(), "GOWORK=off")
		output, err := run.CombinedOutput()
		return string(output), err
	}
	output, err := vet(".", "./examples/...", "./internal/tutorial", "./testdata/readme")
	if err != nil {
		t.Errorf("findings in this repository: %v\n%s", err, output)
	}

	output, err = vet(elsewhere(t, "testdata/vet"), "-mod=mod", "./...")
	const want = "main.go:31:14: work under grant uses ctx, which does not end when the grant is lost: use grant.Bind\n"
	if err == nil || !strings.Contains(output, want) {
		t.Errorf("in another module: %v\n%s, want %s", err, output, want)
	}
}
