//go:build unix && !linux

package guard

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The function `now` reads the monotonic clock. On most systems it does not advance while the
// machine is suspended.
func now() instant {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // exists on every system
	return instant(t.Nano())
}

// adopt does nothing, because descendants cannot be adopted on these systems.
func adopt() error { return nil }

func self() (string, error) { return os.Executable() }

// attributes gives the command its own process group.
func attributes(int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// groupFor returns 0: the command has its own process group.
func groupFor() int { return 0 }

// A tree is the process group of a command.
type tree struct{ group int }

// signal sends s to each process of the group.
func (t tree) signal(s syscall.Signal) {
	if t.group > 0 {
		_ = syscall.Kill(-t.group, s) // the group may be empty
	}
}

// The method `gone` reports whether no process is left.
func (t tree) gone() bool {
	return t.group <= 0 || errors.Is(syscall.Kill(-t.group, 0), syscall.ESRCH)
}

func treeOf(pid int) tree { return tree{pid} }

func dup2(from, to int) error { return unix.Dup2(from, to) }
