package guard

import "time"

// An instant is a time of the machine's own clock in nanoseconds. Both
// processes of a Run read that clock, and it is never set.
type instant int64

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// An action is an action of the guard on the processes of the command.
type action int

const (
	leave     action = iota // nothing yet
	terminate               // SIGTERM to all of them, once
	kill                    // SIGKILL to all of them, until none is left
)

// A plan decides when the processes are stopped. It reads no clock and does no
// I/O.
type plan struct {
	grace    time.Duration // between SIGTERM and SIGKILL
	margin   time.Duration // time before the deadline at which the last process must be dead
	deadline instant       // the end of the lease if it is not renewed

	stopping bool    // the processes are being stopped, even if the lease is renewed
	since    instant // when the stop began
	lapsing  bool    // the stop began because the lease was not renewed soon enough
	killing  bool    // kill without a grace time
}

// renew records a later end of the lease.
func (p *plan) renew(deadline instant) { p.deadline = max(p.deadline, deadline) }

// stop starts to stop the processes.
func (p *plan) stop(now instant) {
	if !p.stopping {
		p.stopping, p.since = true, now
	}
}

// due returns the action for now, and the time at which it may change. A
// renewal of the lease does not cancel a stop that has begun, because the
// command has already received SIGTERM.
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
