package guard

import "time"

// An instant is a time of the machine's own clock in nanoseconds. Both
// processes of a Run read that clock, and nobody sets it.
type instant int64

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// An action is what the guard does to the processes of the command.
type action int

const (
	leave     action = iota // nothing yet
	terminate               // SIGTERM to all of them, once
	kill                    // SIGKILL to all of them, until none is left
)

// A plan says when the processes are stopped. It reads no clock and does no I/O.
type plan struct {
	grace    time.Duration // between SIGTERM and SIGKILL
	margin   time.Duration // before the deadline at which the last process must be dead
	deadline instant       // when the lease ends if it is not renewed

	stopping bool    // the processes are to be stopped, whatever becomes of the lease
	since    instant // when that began
	lapsing  bool    // it began because the lease was not renewed in time
	killing  bool    // at once
}

// renew notes that the lease ends later.
func (p *plan) renew(deadline instant) { p.deadline = max(p.deadline, deadline) }

// stop has the processes stopped from now on.
func (p *plan) stop(now instant) {
	if !p.stopping {
		p.stopping, p.since = true, now
	}
}

// due returns what is to be done now, and when it may be something else. What has
// begun to stop is not spared by a lease that is renewed after all: the command
// was told to end.
func (p *plan) due(now instant) (do action, next instant) {
	last := p.deadline.add(-p.margin)
	if warn := last.add(-p.grace); !p.stopping {
		if now < warn {
			return leave, warn
		}
		p.lapsing = true
		p.stop(now)
	}
	if end := min(last, p.since.add(p.grace)); !p.killing && now < end {
		return terminate, end
	}
	p.killing = true
	return kill, now
}
