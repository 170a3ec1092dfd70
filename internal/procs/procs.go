// Package procs starts processes that do not outlive this one, stops them as a machine does that has no time for them, and lets
// them go on.
package procs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Stop sends SIGSTOP and waits until each thread has stopped: the signal only asks them to, and for a few milliseconds a busy one
// still works. A process that is gone is no error. If ctx ends first it may be stopped or not.
func Stop(ctx context.Context, pid int) error {
	if err := signal(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for !Stopped(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not stop: %w", pid, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Continue lets a stopped process go on.
func Continue(pid int) error { return signal(pid, syscall.SIGCONT) }

// Stopped reports whether no thread of the process runs. /proc says T for a stopped thread; a process that is gone has none.
func Stopped(pid int) bool {
	states, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return !slices.ContainsFunc(states, func(file string) bool {
		text, err := os.ReadFile(file)
		_, rest, found := bytes.Cut(text, []byte(") "))
		return err == nil && found && rest[0] != 'T' && rest[0] != 'Z' && rest[0] != 'X'
	})
}

func signal(pid int, s syscall.Signal) error {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
