package guard

import "time"

// An instant is a time of the machine's monotonic clock, in nanoseconds. The guard and the holder
// read the same clock.
type instant int64

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// An action is a step that the guard takes against the processes of the command.
type action int

const (
	leave     action = iota // no signal yet
	terminate               // SIGTERM to all processes, once
	kill                    // SIGKILL to all processes, until no process is left
)

// A plan decides when the processes are stopped. It reads no clock and does no I/O.
type plan struct {
	grace    time.Duration // between SIGTERM and SIGKILL
	margin   time.Duration // between SIGKILL and the deadline
	deadline instant       // the end of the lease if it is not renewed

	stopping bool    // the processes are being stopped, even if the lease is renewed
	since    instant // when the stop began
	lapsing  bool    // the stop began because the lease was not renewed soon enough
	killing  bool    // kill without a grace time
}

// renew records a new deadline of the lease, unless an earlier call had a later one.
func (p *plan) renew(deadline instant) { p.deadline = max(p.deadline, deadline) }

// stop begins to stop the processes, unless that has begun already.
func (p *plan) stop(now instant) {
	if !p.stopping {
		p.stopping, p.since = true, now
	}
}

// The method `due` returns the action at the time `now`, and the next time at which the action may
// change. After a stop has begun, a renewal of the lease changes nothing, because the command has
// already received SIGTERM.
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
