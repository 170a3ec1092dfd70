package procs

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Group does nothing on Windows, which has no process groups: if the context ends, cmd alone is killed.
func Group(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }

// CPUTime is how long processors have worked for this process.
func CPUTime() (user, system time.Duration) {
	var created, exited, kernel, own syscall.Filetime
	self, _ := syscall.GetCurrentProcess() // it cannot fail
	if err := syscall.GetProcessTimes(self, &created, &exited, &kernel, &own); err != nil {
		panic(err) // it is this process's own
	}
	return ticks(own), ticks(kernel)
}

// ticks of 100 ns are what the two halves count. Filetime.Nanoseconds would take them for a date.
func ticks(t syscall.Filetime) time.Duration {
	return 100 * time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime))
}
