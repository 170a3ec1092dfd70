package guard

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zkcoord/zkcoord/internal/procstat"
)

// The function `now` reads a monotonic clock that also advances while the machine is suspended.
func now() instant {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // exists since Linux 2.6.39
	return instant(t.Nano())
}

// adopt makes this process the new parent of each descendant that loses its parent.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// self returns the program of this process, even if its file was replaced meanwhile.
func self() (string, error) { return "/proc/self/exe", nil }

// attributes returns the attributes of the command's first process. The kernel kills this process
// when the guard ends. On a terminal, the process is in the holder's process group, so that the
// signals of the terminal's keys reach the process as they reach any other command.
func attributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}

// groupFor returns the process group in which the command has to run, or 0 if the command needs a
// new one.
func groupFor() int {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	tty.Close()
	return syscall.Getpgrp()
}

// A tree has the processes of a command: all descendants of this process. If the command has its
// own process group, the field `group` is the number of that group.
type tree struct{ group int }

// The method `signal` sends s to each of the processes. A process that is started while this method
// reads the list may be missing in the list. So SIGKILL also goes to the process groups, because
// the kernel lets no process of a killed group start another one.
func (t tree) signal(s syscall.Signal) {
	session, _ := unix.Getsid(0)
	groups := make(map[int]bool)
	for _, p := range descendants(os.Getpid()) {
		// SIGKILL goes only to groups that consist of descendants of this process. These are the
		// command's own group, and the group of p if p is in another session. A descendant created
		// that session, so all processes of the session are descendants. A group in this process's
		// session may also contain other processes.
		if p.group == t.group || p.session != session {
			groups[p.group] = true
		}
		_ = syscall.Kill(p.pid, s) // it may have ended
	}
	if s != syscall.SIGKILL {
		return
	}
	for group := range groups {
		_ = syscall.Kill(-group, s)
	}
}

// The method `gone` reports whether no process is left. The result is always true, because `gone`
// is called only after wait4 has reported that there is no child.
func (tree) gone() bool { return true }

// A process has the data that the kernel reports about a process.
type process struct{ pid, parent, group, session int }

// descendants returns all descendants of the process pid.
func descendants(pid int) (below []process) {
	children := make(map[int][]process)
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if p, ok := processOf(name); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	below = children[pid]
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i].pid]...)
	}
	return below
}

// processOf reads the data of a process from /proc/pid/stat.
func processOf(pid string) (p process, ok bool) {
	if p.pid, _ = strconv.Atoi(pid); p.pid == 0 {
		return p, false
	}
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return p, false
	}
	fields := procstat.Fields(text)
	if len(fields) < 4 {
		return p, false
	}
	for i, to := range []*int{&p.parent, &p.group, &p.session} {
		if *to, err = strconv.Atoi(fields[1+i]); err != nil { // field 0 is the state
			return p, false
		}
	}
	return p, true
}

// treeOf returns the processes of the command whose first process is pid. If the command has its
// own process group, pid is the number of the group.
func treeOf(pid int) tree { return tree{pid} }

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }
