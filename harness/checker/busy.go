package checker

import (
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// The type `loaded` has the times in which this machine was too busy: this process was stalled, or
// a server did not answer. The times are disjoint and in order.
type loaded []window

func busyTimes(h *history.History) loaded {
	var all []window
	silent := make(map[string]time.Duration) // server -> since when it has not answered
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind != history.Fact {
			continue
		}
		switch since, was := silent[e.Node]; {
		case e.Op == history.FactStall:
			if d, err := time.ParseDuration(e.Result); err == nil {
				all = append(all, window{e.Time - d, e.Time})
			}
		case e.Op == history.FactRole && e.Result == history.RoleSilent:
			silent[e.Node] = e.Time
		case e.Op == history.FactRole && was:
			all = append(all, window{since, e.Time})
			delete(silent, e.Node)
		}
	}
	for _, since := range silent {
		all = append(all, window{since, h.End()})
	}
	return merge(all)
}

// The method `in` returns how long the machine was busy between two times.
func (b loaded) in(from, to time.Duration) (sum time.Duration) {
	for _, w := range b {
		sum += max(0, min(w.to, to)-max(w.from, from))
	}
	return sum
}

// The method `overdue` reports whether something took longer than inTime, not counting the busy
// time. If it took longer than inTime only because of the busy time, the verdict is Unknown.
func (b loaded) overdue(j *Judge, what string, from, to, inTime time.Duration) bool {
	took, busy := to-from, b.in(from, to)
	if took > inTime && took-busy <= inTime {
		j.Unknown("%s took %v after the heal, and this machine was busy for %v of that", what, took, busy)
	}
	return took-busy > inTime
}

// The method `cost` reports whether a lease may have lapsed at t because the machine was busy. It
// considers the period that ends at t and is as long as the longest session timeout in the history.
// It adds up the busy time and all delays of timers in this period. The result is true if the sum
// is at least a quarter of the timeout. The interval between two heartbeats is at most a quarter of
// the timeout, so a machine that was busy for so long can delay a heartbeat by a whole interval. If
// the history has no session, the result is false.
func (b loaded) cost(h *history.History, t time.Duration) bool {
	timeout := longestTimeout(h)
	late := Envelope{}.outside(h).slowed(t-timeout, t) // the envelope does not matter for timers
	return timeout > 0 && b.in(t-timeout, t)+late >= timeout/4
}
