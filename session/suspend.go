package session

import "time"

// The method `suspended` drops all measured times, because more time has passed than the monotonic
// clock says. The next connection gives new times.
func (l *lease) suspended() {
	l.forget()
	l.connected = false
}

// A steppingClock sums the time by which a wall clock ran ahead of Go's monotonic clock. It is for
// systems without a clock that counts suspensions. Small differences come from adjustments of the
// clock and do not count. A larger step forward looks like a suspension.
type steppingClock struct {
	wall, mono time.Time
	total      time.Duration
}

// The arguments of the method `at` are what the two clocks show now. The method returns the sum of
// all jumps of the wall clock ahead of the monotonic clock since the first call.
func (c *steppingClock) at(wall, mono time.Time) time.Duration {
	if !c.wall.IsZero() {
		passed := mono.Sub(c.mono)
		if ahead := wall.Sub(c.wall) - passed; ahead > 100*time.Millisecond+passed/500 {
			c.total += ahead
		}
	}
	c.wall, c.mono = wall, mono
	return c.total
}
