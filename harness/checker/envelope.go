package checker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Envelope says under which circumstances holds may overlap without breaking a
// promise. What happens there is reported as exposure. So is an overlap with a hold
// that was lost, if it is shorter than the lag of this process's own timers then: a
// busy machine makes the end late, or its record. See [history.FactLag].
type Envelope struct {
	// Outside names the faults that break an assumption of the lease: another
	// client closes the session or deletes the node, a clock runs wild, a client
	// is paused. A fault whose target is a client excuses only the holds of that one.
	Outside []string `json:"outside,omitempty"`
	// After is for how long after the end of such a fault its consequences count
	// to it; zero is 1 s.
	After time.Duration `json:"after_ns,omitempty"`
	// Stall is the pause of the client process above which its lease is worth
	// nothing; zero is 250 ms.
	Stall time.Duration `json:"stall_ns,omitempty"`
}

// window is a span of time outside of the envelope.
type window struct{ from, to time.Duration }

// windows are those of each client, and those of all under Nobody. Each list is
// disjoint and in order.
type windows struct {
	of   map[int16][]window
	lags []lag // in order
}

// A lag is by how much a timer was late at most, in the LagTime up to a time.
type lag struct{ at, late time.Duration }

// outside lists the windows of h outside of the envelope.
func (e Envelope) outside(h *history.History) windows {
	after, stall := cmp.Or(e.After, time.Second), cmp.Or(e.Stall, 250*time.Millisecond)
	all := windows{of: make(map[int16][]window)}
	started := make(map[int32]*history.Event)
	for i := range h.Events {
		ev := &h.Events[i]
		switch {
		case ev.Kind == history.Fact && ev.Op == history.FactStall:
			if d, err := time.ParseDuration(ev.Result); err == nil && d >= stall {
				all.add(history.Nobody, window{ev.Time - d, ev.Time + after})
			}
		case ev.Kind == history.Fact && ev.Op == history.FactLag:
			if d, err := time.ParseDuration(ev.Result); err == nil {
				all.lags = append(all.lags, lag{ev.Time, d})
			}
		case ev.Kind != history.Fault || !slices.Contains(e.Outside, ev.Object):
		case ev.Op == history.FaultStart:
			started[ev.Step] = ev
		case started[ev.Step] != nil:
			// The stop names what was really hit.
			all.add(clientNamed(ev.Node), window{started[ev.Step].Time, ev.Time + after})
			delete(started, ev.Step)
		}
	}
	for _, start := range started { // never healed
		all.add(history.Nobody, window{start.Time, h.End()})
	}
	for who := range all.of {
		all.of[who] = merge(all.of[who])
	}
	return all
}

func (w windows) add(client int16, one window) { w.of[client] = append(w.of[client], one) }

// lag is by how much a timer was late at most between from and to.
func (w windows) lag(from, to time.Duration) (most time.Duration) {
	i, _ := slices.BinarySearchFunc(w.lags, from, func(l lag, t time.Duration) int { return cmp.Compare(l.at, t) })
	for ; i < len(w.lags) && w.lags[i].at <= to+history.LagTime; i++ {
		most = max(most, w.lags[i].late)
	}
	return most
}

// excuses reports whether the envelope says nothing of a hold that has not ended at t: something befell one of
// the clients, or the hold was lost so soon after t that a busy machine may have held up the end, or its record. A
// hold that was given up is not late: the program that gives it up has to know first.
func (w windows) excuses(hold history.HoldInterval, t time.Duration, clients ...int16) bool {
	if w.covers(t, append(clients, hold.Begin.Client)...) {
		return true
	}
	return hold.End != nil && hold.Lost() && hold.End.Time-t < w.lag(t, hold.End.Time)
}

// An Excuse is what an envelope excuses in one history.
type Excuse struct{ windows windows }

// In prepares the envelope for one history.
func (e Envelope) In(h *history.History) Excuse { return Excuse{e.outside(h)} }

// Covers reports whether a fault outside of the envelope hit one of the clients, or all of them, at t.
func (x Excuse) Covers(t time.Duration, clients ...int16) bool { return x.windows.covers(t, clients...) }

// Lag returns by how much this process was late between from and to, at most. It is zero on a virtual
// clock.
func (x Excuse) Lag(from, to time.Duration) time.Duration { return x.windows.lag(from, to) }

// clientNamed reads "c3"; whatever is no client concerns all of them, a znode
// whose name begins with a GUID among it.
func clientNamed(target string) int16 {
	number, named := strings.CutPrefix(target, "c")
	client, err := strconv.ParseInt(number, 10, 16)
	if !named || err != nil {
		return history.Nobody
	}
	return int16(client)
}

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

// covers reports whether t lies in a window of all or of one of the clients.
func (w windows) covers(t time.Duration, clients ...int16) bool {
	for _, client := range append(clients, history.Nobody) {
		list := w.of[client]
		i, found := slices.BinarySearchFunc(list, t, func(w window, t time.Duration) int { return cmp.Compare(w.from, t) })
		if found || i > 0 && t <= list[i-1].to {
			return true
		}
	}
	return false
}

// meets reports whether a window of all begins or lasts between from and to.
func (w windows) meets(from, to time.Duration) bool {
	list := w.of[history.Nobody]
	i, _ := slices.BinarySearchFunc(list, from, func(w window, t time.Duration) int { return cmp.Compare(w.to, t) })
	return i < len(list) && list[i].from <= to
}
