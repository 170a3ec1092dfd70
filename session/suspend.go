package session

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Go's monotonic clock, on which the lease rests, stands still while a machine is
// suspended on most systems. The servers' clocks go on: a session of 10 s expires
// while a laptop sleeps for a minute, and after the resume its lease would stand for
// the seconds that were left. So the keeper compares two clocks of which one goes on,
// and drops the lease when the machine was suspended.
//
// What remains: between the resume and the keeper's next look, a twelfth of the
// session timeout at most, the program still counts as holding. A hypervisor that
// stops a virtual machine with all of its clocks cannot be noticed from inside.

// errSuspended is why a connection is closed after a suspension: what was sent
// before and is answered after it proves nothing, as its age is not known.
var errSuspended = errors.New("the machine was suspended")

// suspendedLocked ends what was granted if the machine has been suspended since it
// was last called, for longer than the margin for clocks covers.
func (s *Session) suspendedLocked() {
	if s.opts.UnsafeHoldUntilLost || s.timeout == 0 {
		return
	}
	slept := s.opts.slept()
	missed := slept - s.sleptBefore
	if missed < s.timeout/40 {
		return
	}
	s.sleptBefore = slept
	s.lease.suspended()
	s.logLocked(slog.LevelWarn, "machine was suspended: no lease stands", "session", hexID(s.id), "for", missed)
	for h := range s.holds {
		if h.granted {
			s.endHoldLocked(h, fmt.Errorf("%w: %w for %v", ErrLeaseLapsed, errSuspended, missed))
		}
	}
	if c := s.current; c != nil && s.life.Err() == nil {
		s.work.Go(func() { c.fail(errSuspended) })
	}
}

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
