//go:build unix && !solaris && !aix && !illumos

package fence_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// holdLock locks a file like another process would, until the file is closed.
func holdLock(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return f
}

// ignoreFileSizeSignal makes a write beyond the limit of file sizes return an error instead of
// ending the process.
func ignoreFileSizeSignal() { signal.Ignore(syscall.SIGXFSZ) }
