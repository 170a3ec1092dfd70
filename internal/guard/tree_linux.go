package guard

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// now reads a clock that also advances while the machine is suspended.
func now() instant {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // exists since Linux 2.6.39
	return instant(t.Nano())
}

// adopt makes this process the new parent of each descendant that loses its
// parent.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// self returns the program of this process, even if its file was replaced
// meanwhile.
func self() (string, error) { return "/proc/self/exe", nil }

// attributes returns the attributes of the command's first process. On a
// terminal it stays in the process group of the holder, so that the terminal's
// keys reach it like any other command. The kernel kills it when the guard
// ends.
func attributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}

// groupFor returns the process group in which the command has to run, or 0 if
// the command needs a new one.
func groupFor() int {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	tty.Close()
	return syscall.Getpgrp()
}

// A tree has the processes of a command: all descendants of this process.
type tree struct{}

// signal sends s to each of the processes.
func (tree) signal(s syscall.Signal) {
	for _, pid := range descendants(os.Getpid()) {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

// gone reports whether no process is left. It is called after wait4 has
// reported that there is no child.
func (tree) gone() bool { return true }

// descendants returns the processes below pid.
func descendants(pid int) (below []int) {
	children := make(map[int][]int)
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		child, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if parent, ok := parentOf(name); ok {
			children[parent] = append(children[parent], child)
		}
	}
	below = children[pid]
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i]]...)
	}
	return below
}

// parentOf returns the parent of a process. It is the second field after the
// name, which is in parentheses and may contain any character.
func parentOf(pid string) (int, bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

func treeOf(int) tree { return tree{} }

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }
