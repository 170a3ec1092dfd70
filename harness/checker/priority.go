package checker

import (
	"cmp"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
)

// QueuePriorityOrder judges a priority queue: a value is delivered only if none of a higher
// priority (a smaller Round of its put) surely was in the queue all the while.
func QueuePriorityOrder() Checker {
	return New("queue/priority-order", "what is more urgent comes out first", func(h *history.History, j *Judge) {
		s := collect(h)
		for object, list := range s.byQueue() {
			urgent(j, list, s.goneAt(object))
		}
		j.NotExercised("nothing came out of a priority queue")
	})
}

// urgent sweeps over the deliveries in order of their beginnings, with the values
// whose put had ended by then in a tree of priorities.
func urgent(j *Judge, list []*item, goneAt func(*item) int32) {
	priorities := make([]int32, 0, len(list))
	for _, it := range list {
		priorities = append(priorities, it.put.Invoke.Round)
	}
	slices.Sort(priorities)
	there := newPrefixMax(slices.Compact(priorities), goneAt)
	byEnd := slices.Clone(list)
	slices.SortFunc(byEnd, func(a, b *item) int { return cmp.Compare(a.putEnd(), b.putEnd()) })
	var out []*item
	for _, it := range list {
		if _, delivered := it.out(); delivered {
			out = append(out, it)
		}
	}
	begin := func(it *item) int32 { o, _ := it.out(); return o.Invoke.Index }
	slices.SortFunc(out, func(a, b *item) int { return cmp.Compare(begin(a), begin(b)) })
	next := 0
	for _, b := range out {
		for ; next < len(byEnd) && byEnd[next].putEnd() < begin(b); next++ {
			there.add(byEnd[next])
		}
		j.Checked(1)
		got, _ := b.out()
		if a := there.below(b.put.Invoke.Round); a != nil && goneAt(a) > got.Complete.Index {
			j.Violation(inOrder(a.put.Events(), b.put.Events(), got.Events(), a.outEvents()),
				"%s got %q of priority %d from %s at %v, though %q of priority %d was in it all the while",
				got.Invoke.Who(), b.value, b.put.Invoke.Round, b.object, got.Complete.Time, a.value, a.put.Invoke.Round)
		}
	}
}

// prefixMax finds among the values of a priority below a given one that which
// leaves last: a Fenwick tree.
type prefixMax struct {
	priorities []int32
	tree       []*item
	goneAt     func(*item) int32
}

func newPrefixMax(priorities []int32, goneAt func(*item) int32) *prefixMax {
	return &prefixMax{priorities, make([]*item, len(priorities)+1), goneAt}
}

func (p *prefixMax) later(a, b *item) *item {
	if a == nil || b != nil && p.goneAt(b) > p.goneAt(a) {
		return b
	}
	return a
}

func (p *prefixMax) add(it *item) {
	i, _ := slices.BinarySearch(p.priorities, it.put.Invoke.Round)
	for i++; i < len(p.tree); i += i & -i {
		p.tree[i] = p.later(p.tree[i], it)
	}
}

func (p *prefixMax) below(priority int32) *item {
	var last *item
	i, _ := slices.BinarySearch(p.priorities, priority)
	for ; i > 0; i -= i & -i {
		last = p.later(last, p.tree[i])
	}
	return last
}
