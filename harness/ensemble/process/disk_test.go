package process

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// flipBit changes one bit of the newest file of the given kind, and nothing else. The bit is before
// the zeros at the end of the file.
func TestOneBitOfTheNewestFileFlips(t *testing.T) {
	n := &node{dir: t.TempDir()}
	if err := n.flipBit(ensemble.StoredLog, 0); !errors.Is(err, ensemble.ErrNothingStored) {
		t.Errorf("without a file: got %v, want %v", err, ensemble.ErrNothingStored)
	}
	if err := os.MkdirAll(n.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, age time.Duration) string {
		path := filepath.Join(n.data(), name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for share, want := range map[float64]string{0: "`bcd\x00\x00\x00\x00", 0.5: "abbd\x00\x00\x00\x00", 0.999: "abce\x00\x00\x00\x00"} {
		older, log, snapshot := write("log.9", "older", time.Hour), write("log.1", "abcd\x00\x00\x00\x00", 0), write("snapshot.1", "snapshot", 0)
		if err := n.flipBit(ensemble.StoredLog, share); err != nil {
			t.Fatalf("share %v: %v", share, err)
		}
		for path, want := range map[string]string{older: "older", log: want, snapshot: "snapshot"} {
			if got, _ := os.ReadFile(path); string(got) != want {
				t.Errorf("share %v: got %s with %q, want %q", share, filepath.Base(path), got, want)
			}
		}
	}
	write("snapshot.2", "\x00\x00", -time.Hour) // the newest
	if err := n.flipBit(ensemble.StoredSnapshot, 0); !errors.Is(err, ensemble.ErrNothingStored) {
		t.Errorf("a file of zeros: got %v, want %v", err, ensemble.ErrNothingStored)
	}
}

// Regression: if the directory of a node had a bracket in its path, no stored file was found.
func TestDirectoriesMayHaveAnyName(t *testing.T) {
	n := &node{dir: filepath.Join(t.TempDir(), "[a"), members: []string{""}}
	config := filepath.Join(n.dir, "zoo.cfg.dynamic.100")
	if err := errors.Join(os.MkdirAll(n.data(), 0o700), os.WriteFile(config, nil, 0o600), os.WriteFile(filepath.Join(n.data(), "log.1"), []byte("abcd"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := n.flipBit(ensemble.StoredLog, 0); err != nil {
		t.Errorf("flip a bit: got error %v, want none", err)
	}
	e := &Ensemble{nodes: []*node{n}}
	if lost, err := e.LoseUnsynced(t.Context(), 0); lost != 4 || err != nil {
		t.Errorf("lose unsynced data: got %d bytes, error %v; want 4 bytes", lost, err)
	}
	if err := n.wipe(); err != nil {
		t.Errorf("wipe: got error %v, want none", err)
	}
	if _, err := os.Stat(config); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of the configuration after the node was wiped: got error %v, want %v", err, fs.ErrNotExist)
	}
}

// Regression: FlipBit panicked for a share outside of its range.
func TestPositionsOutsideOfTheFile(t *testing.T) {
	n := &node{dir: t.TempDir()}
	if err := errors.Join(os.MkdirAll(n.data(), 0o700), os.WriteFile(filepath.Join(n.data(), "log.1"), []byte("abcd"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, share := range []float64{1, -0.5, math.NaN(), math.Inf(1)} {
		if err := n.flipBit(ensemble.StoredLog, share); err == nil {
			t.Errorf("share %v: got no error, want one", share)
		}
	}
}

// Restore brings back the saved data, and removes the files that were stored after the copy.
func TestOldDataComeBackWhole(t *testing.T) {
	n := &node{dir: t.TempDir()}
	e := &Ensemble{nodes: []*node{n}}
	if err := e.Restore(t.Context(), 0); !errors.Is(err, ensemble.ErrNothingStored) {
		t.Errorf("without a copy: got %v, want %v", err, ensemble.ErrNothingStored)
	}
	file := func(name string) string { return filepath.Join(n.data(), name) }
	if err := errors.Join(os.MkdirAll(n.data(), 0o700), os.WriteFile(file("log.1"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second copy replaces the first
		if err := e.Save(t.Context(), 0); err != nil {
			t.Fatalf("save: %v", err)
		}
	}
	if err := errors.Join(os.WriteFile(file("log.1"), []byte("newer"), 0o600), os.WriteFile(file("log.2"), []byte("new"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := e.Restore(t.Context(), 0); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if text, err := os.ReadFile(file("log.1")); string(text) != "old" || err != nil {
		t.Errorf("got log.1 with %q, %v; want \"old\"", text, err)
	}
	if _, err := os.Stat(file("log.2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("log.2 after Restore: got error %v, want that it does not exist", err)
	}
}
