package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The method `data` returns the directory of the node's transaction logs and snapshots.
func (n *node) data() string { return filepath.Join(n.dir, "data", "version-2") }

// DataDir returns the directory of the transaction logs and snapshots of a node. Do not change
// files there while the node runs.
func (e *Ensemble) DataDir(i int) string { return e.nodes[i].data() }

// The method `saved` returns the directory in which Save stores the copy of the data.
func (n *node) saved() string { return filepath.Join(n.dir, "saved") }

// glob returns the paths of the files in a directory whose names match a valid pattern. Unlike for
// filepath.Glob, the path of the directory may contain any characters.
func glob(dir, pattern string) (paths []string) {
	names, _ := fs.Glob(os.DirFS(dir), pattern)
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// The method `newest` returns the path of the node's newest file of the given kind, or an empty
// string if there is none.
func (n *node) newest(file ensemble.StoredFile) string {
	all := glob(n.data(), string(file)+".*")
	if len(all) == 0 {
		return ""
	}
	return slices.MaxFunc(all, func(a, b string) int { return modified(a).Compare(modified(b)) })
}

// flipBit flips the lowest bit of one byte of the node's newest file of the given kind. The share,
// from 0 to less than 1, selects the byte: 0 is the first byte of the file, and 0.5 is the middle.
// The zeros at the end of the file do not count.
func (n *node) flipBit(file ensemble.StoredFile, share float64) error {
	if !(share >= 0 && share < 1) { // also for NaN
		return fmt.Errorf("the position of the bit is %v: must be a number from 0 to less than 1",
			share)
	}
	name := n.newest(file)
	if name == "" {
		return fmt.Errorf("no %s: %w", file, ensemble.ErrNothingStored)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	used := len(bytes.TrimRight(text, "\x00"))
	if used == 0 {
		return fmt.Errorf("%s has only zeros: %w", name, ensemble.ErrNothingStored)
	}
	text[int(share*float64(used))] ^= 1
	return os.WriteFile(name, text, 0o600)
}

// whileDown runs f if the node was killed, and returns an error if the node runs.
func (n *node) whileDown(f func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.child != nil {
		return errors.New("the node runs: kill it first")
	}
	return f()
}

// leastLog is the minimum number of nonzero bytes of a transaction log that can be truncated.
const leastLog = 1000

// The method `truncate` removes about half of the newest transaction log. It counts only the
// nonzero bytes of the log, because the server preallocates space with zeros.
func (n *node) truncate() error {
	newest := n.newest(ensemble.StoredLog)
	if newest == "" {
		return errors.New("the node has no transaction log")
	}
	text, err := os.ReadFile(newest)
	if err != nil {
		return err
	}
	used := len(text) - bytes.Count(text, []byte{0})
	if used < leastLog {
		return fmt.Errorf("%s has %d nonzero bytes: want at least %d", newest, used, leastLog)
	}
	return os.Truncate(newest, int64(used/2))
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// CopyTxnLogs copies the transaction logs of a node, and creates an empty file for each snapshot.
func (e *Ensemble) CopyTxnLogs(_ context.Context, i int, dir string) error {
	return e.change("copy the transaction logs of", i, func(n *node) error {
		entries, err := os.ReadDir(n.data())
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := copyTxnLog(n.data(), dir, entry.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}

func copyTxnLog(from, to, name string) error {
	in, err := os.Open(filepath.Join(from, name))
	if err != nil {
		return err
	}
	defer in.Close()
	return ensemble.CopyTxnLog(in, to, name)
}
