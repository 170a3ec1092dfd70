package checker

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations on a counter, besides OpAdd, and OpSet of Arg.
const (
	OpGet = "get" // completes with the value in Result
	// OpCompareAndSet has the old and the new value in Arg, with a space between them. It completes
	// with Swapped in Result, or with nothing if the value was another one.
	OpCompareAndSet = "compare-and-set"
	Swapped         = "swapped"
)

// CounterModel is an integer, 0 at the start, that is added to, read, set, and set if it has a value.
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

// integer reads a number, or returns other if text is none.
func integer(text string, other int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return other
}

// mostUnknown is how many operations of unknown outcome a counter may have for the search to end soon.
// Each doubles the number of orders that have to be tried.
const mostUnknown = 12

// CounterLinearizable judges counters: some order of their operations explains all results, and keeps
// the order in real time. It searches for the order with porcupine. The results of adds leave few
// choices, so the search is fast unless many operations of one counter have an unknown outcome: use
// many counters with few operations each.
func CounterLinearizable() Checker {
	return New("counter/linearizable", "each call on a counter has its effect at one instant, and its result is right for that instant", func(h *history.History, j *Judge) {
		var wrong []history.Operation // the first of each counter that cannot be explained
		for object, ops := range sorted(CounterModel.slices(h, math.MaxInt32, math.MaxInt)) {
			j.Checked(len(ops))
			if n := unknown(ops); n > mostUnknown {
				j.Unknown("%d operations on %s have an unknown outcome, and at most %d can be judged", n, object, mostUnknown)
			} else if !explained(ops) {
				wrong = append(wrong, firstUnexplained(h, object))
			}
		}
		slices.SortFunc(wrong, func(a, b history.Operation) int { return cmp.Compare(a.Complete.Index, b.Complete.Index) })
		for _, o := range wrong {
			j.Violation(o.Events(), "%s called %s(%s) of %s and got %q at %v, which no order of the calls explains",
				o.Invoke.Who(), o.Invoke.Op, o.Invoke.Arg, o.Invoke.Object, o.Complete.Result, o.Complete.Time)
		}
		j.NotExercised("no counter was used")
	})
}

func explained(ops []porcupine.Operation) bool {
	return porcupine.CheckOperations(CounterModel.porcupine(), ops)
}

func unknown(ops []porcupine.Operation) (n int) {
	for _, op := range ops {
		if op.Output.(*history.Event) == nil {
			n++
		}
	}
	return n
}

// firstUnexplained returns the first completed operation on a counter of which the beginning of the
// history, up to its completion, has no order.
func firstUnexplained(h *history.History, object string) history.Operation {
	var done []history.Operation
	all, _ := h.Operations()
	for _, o := range all {
		if o.Invoke.Object == object && CounterModel.knows(o.Invoke.Op) && o.Outcome() == session.OK {
			done = append(done, o)
		}
	}
	slices.SortFunc(done, func(a, b history.Operation) int { return cmp.Compare(a.Complete.Index, b.Complete.Index) })
	// If the beginning of a history has no order, no continuation has one.
	i, _ := slices.BinarySearchFunc(done, true, func(o history.Operation, _ bool) int {
		if explained(CounterModel.slices(h, o.Complete.Index, math.MaxInt)[object]) {
			return -1
		}
		return 1
	})
	return done[min(i, len(done)-1)]
}
