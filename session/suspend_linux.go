package session

import (
	"syscall"
	"time"
	"unsafe"
)

// Clocks of clock_gettime(2).
const (
	clockMonotonic = 1
	clockBoottime  = 7 // as clockMonotonic, and goes on while the machine is suspended
)

// newSleepCounter returns a function that reports for how long the machine was
// suspended since it was booted. A clock of the day that is set is of no influence.
func newSleepCounter() func() time.Duration {
	return func() time.Duration {
		for {
			before := readClock(clockMonotonic)
			boot := readClock(clockBoottime)
			mono := readClock(clockMonotonic)
			if mono-before < time.Millisecond { // else this thread was interrupted
				return boot - mono
			}
		}
	}
}

func readClock(id uintptr) time.Duration {
	var t syscall.Timespec
	if _, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&t)), 0); failed != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}
