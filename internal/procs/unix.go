//go:build unix

package procs

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Group puts the process of cmd into a separate process group. The command must have been created
// by exec.CommandContext. When its context ends, SIGTERM goes to the whole group, including the
// processes that a script has started.
func Group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // the whole group may have ended already
}

// CPUTime returns the processor time of this process. Other load on the machine does not affect it.
func CPUTime() (user, system time.Duration) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // cannot happen for the own process
	}
	return time.Duration(used.Utime.Nano()), time.Duration(used.Stime.Nano())
}
