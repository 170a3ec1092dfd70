package main

import (
	"os"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/peers"
)

// Regression: the compiled files of clients in Java remained until another run deleted them.
func TestRunWithPeersLeavesNoFiles(t *testing.T) {
	needs.Installed(t, peers.Curator.Installed())
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out, errs strings.Builder
	if code := run([]string{"run", "interop-rwlock", "--time", "2s", "--store", ""}, strings.NewReader(""), &out, &errs); code > exitUnknown {
		t.Fatalf("got exit code %d, want at most 2: %s%s", code, &out, &errs)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("files left: got %v (%v), want none", left, err)
	}
}
