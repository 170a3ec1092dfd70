package checker

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// end of an interval of indexes that has none.
const forever = 1<<31 - 1

// begins gives each hold with those of its object that stand when it begins, in
// order. One that is taken away at that very instant does not stand: time stops on
// a virtual clock, and its client may be told after the next one. Holds at once are
// as few as the clients.
func begins(h *history.History) func(func(hold history.HoldInterval, others []history.HoldInterval) bool) {
	return func(yield func(history.HoldInterval, []history.HoldInterval) bool) {
		standing := make(map[string][]history.HoldInterval)
		for _, hold := range h.Holds() {
			others := slices.DeleteFunc(standing[hold.Begin.Object], func(other history.HoldInterval) bool {
				return other.Last() < hold.Begin.Index || other.Lost() && other.End.Time == hold.Begin.Time
			})
			if !yield(hold, others) {
				return
			}
			standing[hold.Begin.Object] = append(others, hold)
		}
	}
}

// unexcused returns the first of those that stand when hold begins with which it
// overlaps inside of the envelope.
func (w windows) unexcused(hold history.HoldInterval, others []history.HoldInterval) *history.HoldInterval {
	for i := range others {
		if !w.excuses(others[i], hold.Begin.Time, hold.Begin.Client) {
			return &others[i]
		}
	}
	return nil
}

// overlap is for how long hold overlaps with one of those that stand when it begins.
func overlap(h *history.History, hold history.HoldInterval, others ...history.HoldInterval) time.Duration {
	last := hold.Begin.Time
	for _, other := range others {
		last = max(last, endTime(h, other))
	}
	return min(last, endTime(h, hold)) - hold.Begin.Time
}

func endTime(h *history.History, hold history.HoldInterval) time.Duration {
	if hold.End == nil {
		return h.End()
	}
	return hold.End.Time
}

// inLine are, by client, the grants of one object with the highest token, of those
// that were given while nothing excused their client.
type inLine map[int16]*history.Event

func (l inLine) add(e *history.Event, outside windows) {
	if before := l[e.Client]; (before == nil || e.Token > before.Token) && !outside.covers(e.Time, e.Client) {
		l[e.Client] = e
	}
}

// passed returns the earliest with a token of at least that, given before e inside
// of the envelope for both clients at both times. Where a fault on the client of e
// excuses the highest of another client a lower one of it may be missed.
func (l inLine) passed(e *history.Event, token int64, outside windows) (first *history.Event) {
	for _, before := range l {
		if before.Token < token || first != nil && first.Index < before.Index {
			continue
		}
		if !outside.covers(e.Time, e.Client, before.Client) && !outside.covers(before.Time, e.Client) {
			first = before
		}
	}
	return first
}

// sorted goes through a map by its keys, so that the first violation is the same
// one each time.
func sorted[K cmp.Ordered, V any](m map[K]V) func(func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// number reads a decimal, or gives what stands for none.
func number(s string, none int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return none
}
