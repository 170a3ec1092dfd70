package checker

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// The constant `forever` is an index after all events. It is the end of an interval that does not
// end.
const forever = 1<<31 - 1

// The function `begins` yields the holds in the order of their starts. With each hold, it yields
// the earlier holds of the same object that have not ended when the hold starts. An earlier hold
// that is lost at the same time counts as ended: on a virtual clock, the client of the earlier hold
// may be notified of the loss after the next hold has begun.
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

// The method `unexcused` gets holds that overlap with `hold`. It returns the first of them whose
// overlap is not excused by the envelope, or nil.
func (w windows) unexcused(hold history.HoldInterval, others []history.HoldInterval) *history.HoldInterval {
	for i := range others {
		if first, next := inTurn(others[i], hold); !w.excuses(first, next.Begin.Time) {
			return &others[i]
		}
	}
	return nil
}

// inTurn returns two holds in the order in which the servers granted them. This is the order of
// their tokens, which may differ from the order of the records. Without tokens, inTurn uses the
// records.
func inTurn(before, after history.HoldInterval) (first, next history.HoldInterval) {
	if a, b := before.Begin.Token, after.Begin.Token; a != 0 && b != 0 && b < a {
		return after, before
	}
	return before, after
}

// The function `overlap` returns for how long `hold` overlaps with at least one of the other holds.
// The other holds began earlier.
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

// inLine has, in order, the grants of one object whose tokens are higher than the tokens of all
// earlier grants of the object.
type inLine []*history.Event

func (l *inLine) add(e *history.Event) {
	if n := len(*l); n == 0 || (*l)[n-1].Token < e.Token {
		*l = append(*l, e)
	}
}

// The method `passed` returns the earliest grant with at least the given token, or nil.
func (l inLine) passed(token int64) *history.Event {
	i, _ := slices.BinarySearchFunc(l, token, func(e *history.Event, token int64) int { return cmp.Compare(e.Token, token) })
	if i == len(l) {
		return nil
	}
	return l[i]
}

// The function `sorted` iterates over a map in the order of its keys, so that the first violation
// is always the same.
func sorted[K cmp.Ordered, V any](m map[K]V) func(func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// The function `number` parses a decimal number. If s is not a number, it returns `none`.
func number(s string, none int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return none
}
