//go:build !linux

package session

import (
	"sync"
	"time"
)

// newSleepCounter returns a function that returns the time for which the machine was suspended, as
// far as the wall clock shows it. If the wall clock is set forward, this counts as a suspension
// too.
func newSleepCounter() func() time.Duration {
	var mu sync.Mutex
	var clock steppingClock
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		return clock.at(now.Round(0), now)
	}
}
