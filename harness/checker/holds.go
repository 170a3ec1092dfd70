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

// change is a moment at which the number of permits held of an object changes.
type change struct {
	at   int32
	by   int
	hold history.HoldInterval
}

// changes lists the begins and ends of holds in order, by object. Where an end and
// a begin share an index the end comes first.
func changes(h *history.History, weight func(history.HoldInterval) int) map[string][]change {
	all := make(map[string][]change)
	for _, hold := range h.Holds() {
		n, object := weight(hold), hold.Begin.Object
		all[object] = append(all[object], change{hold.Begin.Index, n, hold})
		if hold.End != nil {
			all[object] = append(all[object], change{hold.End.Index, -n, hold})
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	}
	return all
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

// untilNext is how long a state begun with list[i] lasted.
func untilNext(h *history.History, list []change, i int) time.Duration {
	end := h.End()
	if i+1 < len(list) {
		end = h.Events[list[i+1].at].Time
	}
	return end - h.Events[list[i].at].Time
}
