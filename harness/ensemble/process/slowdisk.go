package process

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed slowdisk/slowdisk.c
var slowdiskSource []byte

const compilerHint = "it needs gcc and libc's headers; on Debian: apt-get install gcc libc6-dev"

// buildSlowdisk compiles the library that slows the syncs of a server, and returns its path.
func buildSlowdisk(ctx context.Context, dir string) (library string, err error) {
	source, library := filepath.Join(dir, "slowdisk.c"), filepath.Join(dir, "slowdisk.so")
	if err := os.WriteFile(source, slowdiskSource, 0o600); err != nil {
		return "", err
	}
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("compile slowdisk.c: %w (%s)", err, compilerHint)
	}
	out, err := exec.CommandContext(ctx, compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source, "-ldl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile slowdisk.c: %w: %s (%s)",
			err, bytes.TrimSpace(out), compilerHint)
	}
	return library, nil
}

// slowdisk returns the directory that a node shares with the library.
func (n *node) slowdisk() string { return filepath.Join(n.dir, "slowdisk") }

func (n *node) control() string { return filepath.Join(n.slowdisk(), "control") }

// The size of the file that controls the library, and the offsets of two 64-bit numbers in the
// file: the delay of each sync in microseconds, and the number of syncs that were delayed. A third
// number, which counts all syncs, follows these two.
const (
	controlDelay  = 0
	controlSlowed = 8
	controlSize   = 24
)

// slowEnvironment returns the environment of a node's server. If necessary, it first creates the
// directory and the control file that the node shares with the library.
func (n *node) slowEnvironment(library string) ([]string, error) {
	if err := os.MkdirAll(n.slowdisk(), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(n.control()); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(n.control(), make([]byte, controlSize), 0o600); err != nil {
			return nil, err
		}
	}
	return append(os.Environ(), "LD_PRELOAD="+library, "ZKCOORD_DISK="+n.slowdisk()), nil
}

// SlowSync makes each fsync of a node take longer by the given time.
func (e *Ensemble) SlowSync(_ context.Context, i int, by time.Duration) error {
	return e.change("slow the syncs of", i, func(n *node) error {
		f, err := os.OpenFile(n.control(), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by.Microseconds())), controlDelay)
		return errors.Join(err, f.Close())
	})
}

// SlowSyncs returns the number of fsyncs of a node that SlowSync has delayed so far.
func (e *Ensemble) SlowSyncs(_ context.Context, i int) (slowed int64, err error) {
	err = e.change("count the slow syncs of", i, func(n *node) error {
		data, err := os.ReadFile(n.control())
		if err == nil {
			slowed = int64(binary.NativeEndian.Uint64(data[controlSlowed:]))
		}
		return err
	})
	return slowed, err
}

// LoseUnsynced removes, from the transaction logs of a killed node, the data that no fsync has
// stored.
func (e *Ensemble) LoseUnsynced(_ context.Context, i int) (lost int64, err error) {
	err = e.change("remove the unsynced data of", i, func(n *node) error {
		return n.whileDown(func() (err error) {
			for _, log := range glob(n.data(), "log.*") {
				one, lose := loseEnd(log, filepath.Join(n.slowdisk(), filepath.Base(log)))
				lost, err = lost+one, errors.Join(err, lose)
			}
			return err
		})
	})
	return lost, err
}

// loseEnd replaces the end of a transaction log, after the synced length, with zeros. The server
// preallocates the file with zeros, so the file had zeros there before the writes. The library has
// written the synced length to the file `record`. If nothing of the log was synced, loseEnd removes
// the log.
func loseEnd(log, record string) (lost int64, err error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	stored := 0
	if data, err := os.ReadFile(record); err == nil && len(data) == 8 {
		stored = min(int(binary.NativeEndian.Uint64(data)), len(text))
	}
	lost = int64(len(bytes.TrimRight(text[stored:], "\x00")))
	switch {
	case stored == 0:
		return lost, os.Remove(log)
	case lost == 0:
		return 0, nil
	}
	f, err := os.OpenFile(log, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt(make([]byte, lost), int64(stored))
	return lost, errors.Join(err, f.Close())
}
