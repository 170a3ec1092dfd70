//go:build unix && !linux

package guard

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// now reads a clock that nobody sets. On most systems it stands still while the
// machine is suspended.
func now() instant {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every system has it
	return instant(t.Nano())
}

// adopt does nothing: descendants cannot be adopted here.
func adopt() error { return nil }

func self() (string, error) { return os.Executable() }

// attributes give the command a process group of its own.
func attributes(int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// groupFor is 0: the command has a process group of its own.
func groupFor() int { return 0 }

// A tree is the process group of a command.
type tree struct{ group int }

// signal sends s to each process of the group.
func (t tree) signal(s syscall.Signal) {
	if t.group > 0 {
		_ = syscall.Kill(-t.group, s) // there may be none any more
	}
}

// gone reports whether none is left.
func (t tree) gone() bool {
	return t.group <= 0 || errors.Is(syscall.Kill(-t.group, 0), syscall.ESRCH)
}

func treeOf(pid int) tree { return tree{pid} }

func dup2(from, to int) error { return unix.Dup2(from, to) }
