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
// promise. What happens there is reported as exposure.
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
type windows map[int16][]window

// outside lists the windows of h outside of the envelope.
func (e Envelope) outside(h *history.History) windows {
	after, stall := cmp.Or(e.After, time.Second), cmp.Or(e.Stall, 250*time.Millisecond)
	all := make(windows)
	started := make(map[int32]*history.Event)
	for i := range h.Events {
		ev := &h.Events[i]
		switch {
		case ev.Kind == history.Fact && ev.Op == history.FactStall:
			if d, err := time.ParseDuration(ev.Result); err == nil && d >= stall {
				all.add(history.Nobody, window{ev.Time - d, ev.Time + after})
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
	for who := range all {
		all[who] = merge(all[who])
	}
	return all
}

func (w windows) add(client int16, one window) { w[client] = append(w[client], one) }

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
		list := w[client]
		i, found := slices.BinarySearchFunc(list, t, func(w window, t time.Duration) int { return cmp.Compare(w.from, t) })
		if found || i > 0 && t <= list[i-1].to {
			return true
		}
	}
	return false
}

// meets reports whether a window of all begins or lasts between from and to.
func (w windows) meets(from, to time.Duration) bool {
	list := w[history.Nobody]
	i, _ := slices.BinarySearchFunc(list, from, func(w window, t time.Duration) int { return cmp.Compare(w.to, t) })
	return i < len(list) && list[i].from <= to
}
