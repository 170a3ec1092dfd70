package checker

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Operations on a counter, in addition to OpAdd and OpSet. OpSet has the new value in Arg.
const (
	OpGet = "get" // completes with the value in Result
	// OpCompareAndSet has the old and the new value in Arg, with a space between them. If the
	// counter had the old value, the operation completes with Swapped in Result. If it had another
	// value, Result is empty.
	OpCompareAndSet = "compare-and-set"
	Swapped         = "swapped"
)

// CounterModel is an integer that is 0 at the start. Its operations are add, get, set and
// compare-and-set.
var CounterModel = Model{Name: "counter", Ops: []string{OpAdd, OpGet, OpSet, OpCompareAndSet}, Step: stepCounter}

func stepCounter(state string, invoke, complete *history.Event) (string, bool) {
	value := integer(state, 0)
	switch invoke.Op {
	case OpAdd:
		value += integer(invoke.Arg, 1)
		return strconv.FormatInt(value, 10), complete == nil || integer(complete.Result, value-1) == value
	case OpSet:
		return invoke.Arg, true
	case OpCompareAndSet:
		from, to, _ := strings.Cut(invoke.Arg, " ")
		swapped := integer(from, value-1) == value
		if swapped {
			state = to
		}
		return state, complete == nil || (complete.Result == Swapped) == swapped
	}
	return state, complete == nil || integer(complete.Result, value-1) == value
}

// The function `integer` parses text as a number. If text is not a number, it returns `other`.
func integer(text string, other int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return other
}

// mostUnknown is the maximum number of operations with an unknown outcome on one counter. A counter
// with more of them is not judged, because each such operation doubles the number of orders that
// the search has to try.
const mostUnknown = 12

// CounterLinearizable judges counters. It requires that the operations on each counter have an
// order that explains all results and respects real time. Porcupine searches for the order. The
// results of adds leave few choices, so the search is fast unless many operations of one counter
// have an unknown outcome. A workload should use many counters with few operations each.
func CounterLinearizable() Checker {
	return New("counter/linearizable", "each call on a counter has its effect at one instant, and its result is right for that instant", func(h *history.History, j *Judge) {
		var wrong [][]porcupine.Operation
		for object, ops := range sorted(counterCalls(h)) {
			j.Checked(len(ops))
			if n := unknown(ops); n > mostUnknown {
				j.Unknown("%d operations on %s have an unknown outcome, and at most %d can be judged", n, object, mostUnknown)
			} else if !explained(ops) {
				wrong = append(wrong, ops)
			}
		}
		slices.SortFunc(wrong, func(a, b []porcupine.Operation) int { return cmp.Compare(a[0].Call, b[0].Call) })
		for i, ops := range wrong {
			if i > 0 { // report only the first one
				j.Violation(nil, "")
				continue
			}
			invoke, complete := firstUnexplained(ops)
			j.Violation([]history.Event{*invoke, *complete}, "%s called %s(%s) of %s and got %q at %v, which no order of the calls explains",
				invoke.Who(), invoke.Op, invoke.Arg, invoke.Object, complete.Result, complete.Time)
		}
		j.NotExercised("no counter was used")
	})
}

// counterCalls lists the calls on each counter. A get without an answer proves nothing and is left
// out.
func counterCalls(h *history.History) map[string][]porcupine.Operation {
	all := CounterModel.slices(h, math.MaxInt32, math.MaxInt)
	for object, ops := range all {
		all[object] = slices.DeleteFunc(ops, func(op porcupine.Operation) bool {
			return !isAnswered(op) && op.Input.(*history.Event).Op == OpGet
		})
	}
	return all
}

func isAnswered(op porcupine.Operation) bool { return op.Output.(*history.Event) != nil }

func explained(ops []porcupine.Operation) bool {
	return porcupine.CheckOperations(CounterModel.porcupine(), ops)
}

func unknown(ops []porcupine.Operation) (n int) {
	for _, op := range ops {
		if !isAnswered(op) {
			n++
		}
	}
	return n
}

// firstUnexplained returns the call whose completion shows the violation. Some order of the calls
// explains all results before this completion. No order explains these results together with the
// result of this call. If no order explains the beginning of a history, no order explains a longer
// part. So a binary search finds the call.
func firstUnexplained(ops []porcupine.Operation) (invoke, complete *history.Event) {
	done := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool { return !isAnswered(op) })
	slices.SortFunc(done, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	i, _ := slices.BinarySearchFunc(done, true, func(op porcupine.Operation, _ bool) int {
		if explained(begun(ops, op.Return)) {
			return -1
		}
		return 1
	})
	last := done[min(i, len(done)-1)]
	return last.Input.(*history.Event), last.Output.(*history.Event)
}

// The function `begun` returns the calls that began at or before the index `until`. A call that
// completed after `until` counts as not answered.
func begun(ops []porcupine.Operation, until int64) []porcupine.Operation {
	var some []porcupine.Operation
	for _, op := range ops {
		if op.Return > until {
			op.Output, op.Return = (*history.Event)(nil), math.MaxInt32
		}
		if op.Call <= until {
			some = append(some, op)
		}
	}
	return some
}
