//go:build unix && !solaris && !aix && !illumos

package fence

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// lockFile locks f until f is closed or the process ends. flock cannot wait for a context, so
// lockFile polls.
func lockFile(ctx context.Context, f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		if !times.Sleep(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
