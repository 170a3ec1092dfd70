package checker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Envelope names the faults under which holds may overlap without breaking a promise. Such an
// overlap is reported as exposure. The comment of the method windows.excuses has the rule.
type Envelope struct {
	// Outside names the faults that break an assumption of the lease: another client closes the
	// session or deletes the znode, a clock runs too fast or too slow, a client is paused. A fault
	// whose target is a client excuses only the holds of that client.
	Outside []string `json:"outside,omitempty"`
	// After is how long a hold may continue after the end of such a fault. Zero means the longest
	// session timeout in the history, because no lease lasts longer without an answer. If the
	// history has no session, zero means 1 s.
	After time.Duration `json:"after_ns,omitempty"`
}

// A window is a span of time that is outside of the envelope, or in which the machine was busy.
type window struct{ from, to time.Duration }

// The type `windows` has the times outside the envelope. Each list is in order, and its windows are
// disjoint.
type windows struct {
	// By client. The key Nobody has the faults that affect all clients. The list of every other key
	// contains these faults too.
	faults map[int16][]window
	stalls []window
	lags   []lag // in order
	after  time.Duration
	end    time.Duration // end of the history
}

// A lag describes the delays of a timer during a period: the largest delay, and the share of the
// period that all delays take together.
type lag struct {
	window
	late  time.Duration
	share float64
}

// The method `outside` returns the times of the history h that are outside the envelope.
func (e Envelope) outside(h *history.History) windows {
	all := windows{faults: make(map[int16][]window), after: cmp.Or(e.After, longestTimeout(h), time.Second), end: h.End()}
	started := make(map[int32]*history.Event)
	for i := range h.Events {
		ev := &h.Events[i]
		switch {
		case ev.Kind == history.Fact && (ev.Op == history.FactStall || ev.Op == history.FactLag):
			if d, err := time.ParseDuration(ev.Result); err != nil {
				continue
			} else if ev.Op == history.FactLag {
				period, delays, _ := strings.Cut(ev.Arg, " ")
				covers, err := time.ParseDuration(period)
				if err != nil || covers <= 0 {
					covers = history.LagTime
				}
				sum, _ := time.ParseDuration(delays) // zero if it was not recorded
				all.lags = append(all.lags, lag{window{ev.Time - covers, ev.Time}, d, min(1, float64(sum)/float64(covers))})
			} else {
				all.stalls = append(all.stalls, window{ev.Time - d, ev.Time})
			}
		case ev.Kind != history.Fault || !slices.Contains(e.Outside, ev.Object):
		case ev.Op == history.FaultStart:
			started[ev.Step] = ev
		case started[ev.Step] != nil:
			// The stop of the fault names its actual target.
			all.add(clientNamed(ev.Node), window{started[ev.Step].Time, ev.Time + all.after})
			delete(started, ev.Step)
		}
	}
	for _, start := range started { // faults that were never healed
		all.add(history.Nobody, window{start.Time, h.End()})
	}
	for who := range all.faults {
		if who != history.Nobody {
			all.add(who, all.faults[history.Nobody]...)
		}
		all.faults[who] = merge(all.faults[who])
	}
	all.stalls = merge(all.stalls)
	return all
}

func (w windows) add(client int16, more ...window) {
	w.faults[client] = append(w.faults[client], more...)
}

// longestTimeout returns the longest timeout of a session, or zero if the history has no session.
func longestTimeout(h *history.History) (longest time.Duration) {
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Session && e.Op == history.SessionNew {
			if d, err := time.ParseDuration(e.Arg); err == nil {
				longest = max(longest, d)
			}
		}
	}
	return longest
}

// The method `stalled` returns how long this process was stalled between two times.
func (w windows) stalled(from, to time.Duration) time.Duration { return loaded(w.stalls).in(from, to) }

// The method `lag` returns the largest delay of a timer between two times, without the stalls.
func (w windows) lag(from, to time.Duration) (most time.Duration) {
	i, _ := slices.BinarySearchFunc(w.lags, from, func(l lag, t time.Duration) int { return cmp.Compare(l.to, t) })
	for ; i < len(w.lags) && w.lags[i].from <= to; i++ {
		most = max(most, w.lags[i].late)
	}
	return most
}

// The method `slowed` returns the sum of all delays of a timer between two times, without the
// stalls. The sum matters for work in several steps on a busy machine. On such a machine, many
// short delays follow each other, so the work can be late by more than the largest delay.
func (w windows) slowed(from, to time.Duration) (sum time.Duration) {
	i, _ := slices.BinarySearchFunc(w.lags, from, func(l lag, t time.Duration) int { return cmp.Compare(l.to, t) })
	for ; i < len(w.lags) && w.lags[i].from <= to; i++ {
		both := max(0, min(w.lags[i].to, to)-max(w.lags[i].from, from))
		sum += time.Duration(w.lags[i].share * float64(both))
	}
	return sum
}

// The method `excuses` reports whether the envelope excuses a hold that had not ended at t. At t
// the servers granted the same object to another client, or ended the session. One of these causes
// must explain the whole time from t to the end of the hold:
//   - A fault outside the envelope, on the client of the hold or on all clients. The fault can end
//     the session or delete the znode without the client's knowledge. This happens after the start
//     of the fault, so t must not be before the start. The client detects the loss when its next
//     request fails, or when its lease lapses. So the hold must end at most Envelope.After, plus
//     the lag of timers, after the end of the fault. A fault on the other client explains nothing.
//   - A stall of this process. A lease needs assumption A1 (docs/decisions/0001-lease.md), which
//     excludes a pause of the client. A stall is such a pause. During the stall, the timer of the
//     lease cannot fire, and the other client cannot read the reply that grants it the object.
//     Right after the stall, the loss and the grant can be recorded in either order. The program
//     may also release the object at that moment. So a stall excuses a hold that was given up, too.
//   - The lag of timers, if the hold was lost. A lease lapses by a timer, and a goroutine records
//     the loss. Both may be late by the lag, by stalls, and by the sum of all delays of timers (see
//     the method `slowed`). A hold that was given up has no such excuse: a program ends the hold
//     before the request that releases it.
//
// The property lock/fenced-writes accepts no excuse. If a program stalls between the check of its
// lease and a write, the write may be too late, but then the fenced resource refuses the write.
func (w windows) excuses(hold history.HoldInterval, t time.Duration) bool {
	to := w.end
	if hold.End != nil {
		to = hold.End.Time
	}
	return w.explains(t, to, hold.Lost(), hold.Begin.Client)
}

// An Excuse applies an envelope to one history.
type Excuse struct{ windows windows }

// In returns an Excuse that applies the envelope to one history.
func (e Envelope) In(h *history.History) Excuse { return Excuse{e.outside(h)} }

// Explains reports whether a hold of a client ended late because of a fault outside the envelope, a
// stall of this process, or the lag of its timers. The hold should have ended at `from`, but ended
// at `to`. Explains assumes that the hold was lost and not given up.
func (x Excuse) Explains(from, to time.Duration, client int16) bool {
	return x.windows.explains(from, to, true, client)
}

// Outside is like Explains, but does not accept the lag of timers alone as an explanation. Use
// Outside for delays that do not come from timers of this process.
func (x Excuse) Outside(from, to time.Duration, client int16) bool {
	return x.windows.explains(from, to, false, client)
}

// Lateness returns by how much this process can have been late between two times. This is twice the
// largest lag, plus twice the length of the stalls, plus the sum of all delays. The lag counts
// twice because it is measured at a single timer, and other goroutines may wait longer. On a
// virtual clock, Lateness returns zero.
func (x Excuse) Lateness(from, to time.Duration) time.Duration {
	return 2*x.windows.lag(from, to) + 2*x.windows.stalled(from, to) + x.windows.slowed(from, to)
}

// The method `explains` reports whether the envelope excuses a hold that should have ended at
// `from`, but ended at `to`. If `lost` is false, the program gave up the hold.
func (w windows) explains(from, to time.Duration, lost bool, client int16) bool {
	lag := w.lag(from, to)
	// A stall must cover the delay, except for a short time at the start and at the end of the
	// delay. This short time is the lag, because timers can also be late just before and just after
	// a stall. But the short time is at least one tick (history.LagTick) of the timer that measures
	// stalls. A pause may begin right after a tick, but the recorded stall begins only when the
	// next tick is due.
	stall := window{from + max(lag, history.LagTick), to - max(lag, history.LagTick)}
	fault := window{from, to - lag}
	faults, hit := w.faults[client]
	if !hit {
		faults = w.faults[history.Nobody]
	}
	return lost && to-from-w.stalled(from, to)-w.slowed(from, to) < lag || stall.within(w.stalls) || fault.within(faults)
}

// The method `within` reports whether w lies in one of the windows.
func (w window) within(list []window) bool {
	i, found := slices.BinarySearchFunc(list, w.from, func(one window, t time.Duration) int { return cmp.Compare(one.from, t) })
	if !found {
		i--
	}
	return i >= 0 && w.to <= list[i].to
}

// clientNamed returns the number of the client that a target names, such as 3 for "c3". Any other
// target names no client, for example a znode whose name begins with a GUID. A fault on such a
// target affects all clients, so the result is Nobody.
func clientNamed(target string) int16 {
	number, named := strings.CutPrefix(target, "c")
	client, err := strconv.ParseInt(number, 10, 16)
	if !named || err != nil {
		return history.Nobody
	}
	return int16(client)
}

// The function `merge` sorts windows, and joins those that overlap.
func merge(all []window) []window {
	slices.SortFunc(all, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	merged := all[:0]
	for _, w := range all {
		if last := len(merged) - 1; last >= 0 && w.from <= merged[last].to {
			merged[last].to = max(merged[last].to, w.to)
			continue
		}
		merged = append(merged, w)
	}
	return merged
}

// The method `meets` reports whether a fault outside the envelope affected all clients at some time
// between `from` and `to`, both included. A fault counts until Envelope.After has passed since its
// end.
func (w windows) meets(from, to time.Duration) bool {
	list := w.faults[history.Nobody]
	i, _ := slices.BinarySearchFunc(list, from, func(w window, t time.Duration) int { return cmp.Compare(w.to, t) })
	return i < len(list) && list[i].from <= to
}
