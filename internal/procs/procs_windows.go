package procs

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Group does nothing, because Windows has no process groups. When the context of cmd ends, only the
// process of cmd is killed.
func Group(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }

// CPUTime returns the processor time of this process.
func CPUTime() (user, system time.Duration) {
	var created, exited, kernel, own syscall.Filetime
	self, _ := syscall.GetCurrentProcess() // it cannot fail
	if err := syscall.GetProcessTimes(self, &created, &exited, &kernel, &own); err != nil {
		panic(err) // cannot happen for the own process
	}
	return ticks(own), ticks(kernel)
}

// ticks converts a time in units of 100 ns. Filetime.Nanoseconds would treat it as a date.
func ticks(t syscall.Filetime) time.Duration {
	return 100 * time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime))
}
