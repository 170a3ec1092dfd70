package guard

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// now reads the clock that goes on while the machine is suspended.
func now() instant {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // it is there since Linux 2.6.39
	return instant(t.Nano())
}

// adopt makes this process the parent of each descendant that loses its own.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// self is the program of this process, even if its file was replaced meanwhile.
func self() (string, error) { return "/proc/self/exe", nil }

// attributes are those of the command's first process. On a terminal it stays in the
// process group of the holder: the terminal's keys then reach it as they reach
// any other command. The kernel kills it when the guard ends.
func attributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}

// groupFor is the process group that the command is to be in; 0 means its own.
func groupFor() int {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	tty.Close()
	return syscall.Getpgrp()
}

// A tree is the processes of a command: all descendants of this process.
type tree struct{}

// signal sends s to each of them.
func (tree) signal(s syscall.Signal) {
	for _, pid := range descendants(os.Getpid()) {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

// gone reports whether none is left, after wait4 has said that there is no child.
func (tree) gone() bool { return true }

// descendants lists the processes below pid.
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

// parentOf reads the parent of a process: the second field behind the name, which
// is in parentheses and may have any character.
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
