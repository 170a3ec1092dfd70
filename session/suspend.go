package session

import "time"

// suspended forgets all times, until the next connection: none is as long ago as
// the clock says.
func (l *lease) suspended() {
	l.forget()
	l.connected = false
}

// A steppingClock is how long a clock of the day was ahead of Go's monotonic clock
// in all, for systems without a clock that counts suspensions. Small differences are
// a clock that is being adjusted; a step forward looks like a suspension.
type steppingClock struct {
	wall, mono time.Time
	total      time.Duration
}

// at takes the time of the day, and a reading of the monotonic clock.
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
