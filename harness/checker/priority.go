package checker

import (
	"cmp"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
)

// QueuePriorityOrder judges a priority queue. It reports a violation if an item was delivered
// although a more urgent item was surely in the queue during the whole call. Items with a smaller
// Priority are more urgent.
func QueuePriorityOrder() Checker {
	return New("queue/priority-order", "a more urgent item is delivered first", func(h *history.History, j *Judge) {
		s := collect(h)
		for object, list := range s.byQueue() {
			urgent(j, list, s.goneAt(object))
		}
		j.NotExercised("no item was delivered from a priority queue")
	})
}

// The function `urgent` judges deliveries in the order in which their calls began. When it judges a
// delivery, a tree contains the items whose puts ended before the call of this delivery began.
func urgent(j *Judge, list []*item, goneAt func(*item) int32) {
	priorities := make([]int32, 0, len(list))
	for _, it := range list {
		priorities = append(priorities, it.put.Invoke.Priority)
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
		if a := there.below(b.put.Invoke.Priority); a != nil && goneAt(a) > got.Complete.Index {
			j.Violation(inOrder(a.put.Events(), b.put.Events(), got.Events(), a.outEvents()),
				"%s got %q of priority %d from %s at %v, although %q of priority %d was in the queue during the whole call",
				got.Invoke.Who(), b.value, b.put.Invoke.Priority, b.object, got.Complete.Time, a.value, a.put.Invoke.Priority)
		}
	}
}

// prefixMax is a Fenwick tree over priorities. Among the items whose Priority is below a given
// number, it finds the item that leaves the queue last.
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
	i, _ := slices.BinarySearch(p.priorities, it.put.Invoke.Priority)
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
