package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
)

// A loss of power removes data that were written but not synced. Synced data and the preallocated
// zeros remain. If nothing was synced, the log itself is removed.
func TestLossOfPowerTakesWhatWasNotStored(t *testing.T) {
	for _, one := range []struct {
		what   string
		log    string
		stored int64 // number of synced bytes in the record; negative if there is no record
		want   string
		lost   int64
		gone   bool
	}{
		{"all is stored", "abcd\x00\x00", 4, "abcd\x00\x00", 0, false},
		{"more than there is", "abcd", 9, "abcd", 0, false},
		{"the end is not stored", "abcd\x00\x00", 1, "a\x00\x00\x00\x00\x00", 3, false},
		{"a zero in it", "ab\x00d\x00", 1, "a\x00\x00\x00\x00", 3, false},
		{"nothing is stored", "abcd\x00\x00", 0, "", 4, true},
		{"nothing was synced", "abcd\x00\x00", -1, "", 4, true},
	} {
		dir := t.TempDir()
		log, record := filepath.Join(dir, "log.1"), filepath.Join(dir, "record")
		if err := os.WriteFile(log, []byte(one.log), 0o600); err != nil {
			t.Fatalf("%s: %v", one.what, err)
		}
		if one.stored >= 0 {
			if err := os.WriteFile(record, binary.NativeEndian.AppendUint64(nil, uint64(one.stored)), 0o600); err != nil {
				t.Fatalf("%s: %v", one.what, err)
			}
		}
		lost, err := loseEnd(log, record)
		text, gone := os.ReadFile(log)
		if err != nil || lost != one.lost || string(text) != one.want || errors.Is(gone, os.ErrNotExist) != one.gone {
			t.Errorf("%s: got %q, %d bytes lost, %v; want %q, %d bytes lost, file gone %v", one.what, text, lost, err, one.want, one.lost, one.gone)
		}
	}
}

// In this test, dd runs with the library of buildSlowdisk. For each transaction log, the library
// must record how many bytes dd has synced. It must record nothing about other files. It must delay
// each sync by the time in the control file.
func TestSlowDiskRecordsWhatIsStored(t *testing.T) {
	_, err := exec.LookPath("gcc")
	needs.Installed(t, err)
	n := &node{dir: t.TempDir()}
	library, err := buildSlowdisk(t.Context(), n.dir)
	if err != nil {
		t.Fatal(err)
	}
	environment, err := n.slowEnvironment(library)
	if err != nil {
		t.Fatal(err)
	}
	const delay = 1000 // microseconds
	if err := os.WriteFile(n.control(), slices.Concat(binary.NativeEndian.AppendUint64(nil, delay), make([]byte, 16)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"log.7", "snapshot.7"} {
		// dd calls fsync or fdatasync once, after it has written everything.
		for _, how := range []string{"conv=fsync", "conv=fdatasync"} {
			dd := exec.Command("dd", "of="+filepath.Join(n.dir, name), how)
			dd.Env, dd.Stdin = environment, bytes.NewReader([]byte("abcde"))
			if out, err := dd.CombinedOutput(); err != nil {
				t.Fatalf("dd of=%s %s: %v: %s", name, how, err, out)
			}
		}
	}
	control, err := os.ReadFile(n.control())
	if err != nil {
		t.Fatal(err)
	}
	if slowed, syncs := binary.NativeEndian.Uint64(control[8:]), binary.NativeEndian.Uint64(control[16:]); slowed != 4 || syncs != 4 {
		t.Errorf("got %d of %d syncs slow, want 4 of 4", slowed, syncs)
	}
	record, err := os.ReadFile(filepath.Join(n.slowdisk(), "log.7"))
	if want := binary.NativeEndian.AppendUint64(nil, 5); err != nil || !bytes.Equal(record, want) {
		t.Errorf("record of log.7: got %x, %v; want %x", record, err, want)
	}
	if _, err := os.Stat(filepath.Join(n.slowdisk(), "snapshot.7")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("record of a snapshot: got error %v, want that it does not exist", err)
	}
}
