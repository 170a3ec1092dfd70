package session

import (
	"syscall"
	"time"
	"unsafe"
)

// Clocks of clock_gettime(2).
const (
	clockMonotonic = 1
	clockBoottime  = 7 // like clockMonotonic, but continues while the machine is suspended
)

// newSleepCounter returns a function that returns the time for which the machine was suspended
// since boot. Setting the wall clock does not affect it.
func newSleepCounter() func() time.Duration {
	return func() time.Duration {
		for {
			before := readClock(clockMonotonic)
			boot := readClock(clockBoottime)
			mono := readClock(clockMonotonic)
			if mono-before < time.Millisecond { // a longer time means that this thread was interrupted
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
