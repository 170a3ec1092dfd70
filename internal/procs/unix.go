//go:build unix

package procs

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Group puts the process of cmd, which exec.CommandContext has made, into a process group. If the context ends, SIGTERM goes to
// the whole group, so to the processes that a script has started as well.
func Group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // all of it may have ended already
}

// CPUTime is how long processors have worked for this process, which another load on the machine does not make longer.
func CPUTime() (user, system time.Duration) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // it is this process's own
	}
	return time.Duration(used.Utime.Nano()), time.Duration(used.Stime.Nano())
}
