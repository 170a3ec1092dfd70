package owner

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOnlyDirectoriesOfEndedProcessesAreSwept(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "[a") // special in a pattern
	if err := os.Mkdir(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	mine, err := MkdirTemp(parent, "run")
	if err != nil {
		t.Fatal(err)
	}
	kept := []string{filepath.Base(mine), "zkcoord-", "zkcoord-store-1234", "zkcoord-run", "other-" + edit(3, "1") + "-run-1", "zkcoord-" + edit(1, "1") + "-run-1"}
	swept := []string{"zkcoord-" + edit(3, "1") + "-run-1", "zkcoord-" + edit(0, "another") + "-peer-2"}
	for _, name := range append(kept[1:], swept...) {
		if err := os.MkdirAll(filepath.Join(parent, name, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	second, err := MkdirTemp(parent, "image")
	if err != nil {
		t.Fatal(err)
	}
	kept = append(kept, filepath.Base(second))
	slices.Sort(kept)
	var left []string
	all, err := os.ReadDir(parent) // sorted by name
	for _, one := range all {
		left = append(left, one.Name())
	}
	if err != nil || !slices.Equal(left, kept) {
		t.Errorf("got directories %q, error %v; want %q", left, err, kept)
	}
}

func TestTheSystemsDirectoryIsTheDefault(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, err := MkdirTemp("", "run")
	if err != nil || filepath.Dir(dir) != os.TempDir() {
		t.Errorf("got directory %s, error %v; want it in os.TempDir", dir, err)
	}
}
