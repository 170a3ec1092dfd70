package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
)

// A tinyOp is one operation in a small random history of one queue. Operations may overlap, and
// their answers may be wrong.
type tinyOp struct {
	name, value string // name is "put" or "take"; a take has no value if it found nothing or its outcome is unknown
	invoke, end int    // indexes; an end of -1 means an unknown outcome
}

// tinyQueue returns n random operations of up to three processes. Most takes return what a
// simulated queue returns; the other takes return made-up values.
func tinyQueue(r *rand.Rand, n int, unknown bool) []tinyOp {
	var ops []tinyOp
	open := make(map[int]int) // process -> operation
	var model, all []string
	puts, now := 0, 0
	for len(ops) < n || len(open) > 0 {
		p := r.IntN(3)
		at, busy := open[p]
		switch {
		case busy:
			delete(open, p)
			op := &ops[at]
			op.end = now
			if op.name == "take" {
				op.value = answer(r, &model, all)
			} else {
				model = append(model, op.value)
			}
			if unknown && r.IntN(6) == 0 {
				op.end = -1
				if op.name == "take" {
					op.value = ""
				}
			}
		case len(ops) == n:
			continue
		default:
			op := tinyOp{name: "take", invoke: now}
			if r.IntN(2) == 0 {
				op.name, op.value = "put", fmt.Sprint(puts)
				all = append(all, op.value)
				puts++
			}
			open[p] = len(ops)
			ops = append(ops, op)
		}
		now++
	}
	return ops
}

func answer(r *rand.Rand, model *[]string, all []string) string {
	switch {
	case r.IntN(8) == 0 && len(all) > 0:
		return all[r.IntN(len(all))]
	case len(*model) == 0 || r.IntN(8) == 0:
		return ""
	}
	i := 0
	if r.IntN(6) == 0 {
		i = r.IntN(len(*model))
	}
	v := (*model)[i]
	*model = slices.Delete(*model, i, i+1)
	return v
}

func tinyHistory(ops []tinyOp) *history.History {
	last := 0
	for _, op := range ops {
		last = max(last, op.invoke, op.end)
	}
	events := make([]history.Event, last+1)
	for i := range events {
		events[i] = history.Event{Kind: history.Fact, Op: "nothing"}
	}
	for i, op := range ops {
		e := history.Event{Kind: history.Invoke, Op: op.name, Object: "/q", Process: int32(i)}
		if op.name == "put" {
			e.Arg = op.value
		}
		events[op.invoke] = e
		if op.end >= 0 {
			e.Kind, e.Arg = history.OK, ""
			if op.name == "take" {
				e.Result = op.value
			}
			events[op.end] = e
		}
	}
	return history.New(append(events, end())...)
}

// legalOrder is the oracle. It tries every order of the operations that respects real time. An
// operation with an unknown outcome may be left out. A take with an unknown outcome may return any
// value.
func legalOrder(ops []tinyOp) bool {
	endOf := func(op tinyOp) int {
		if op.end < 0 {
			return forever
		}
		return op.end
	}
	var try func(left []tinyOp, queue []string) bool
	try = func(left []tinyOp, queue []string) bool {
		first := forever
		done := true
		for _, op := range left {
			first = min(first, endOf(op))
			done = done && op.end < 0
		}
		if done {
			return true
		}
		for i, op := range left {
			if op.invoke > first {
				continue // a remaining operation ended before this one began
			}
			rest := slices.Delete(slices.Clone(left), i, i+1)
			switch {
			case op.name == "put":
				if try(rest, append(slices.Clone(queue), op.value)) {
					return true
				}
			case op.end < 0:
				if len(queue) > 0 && try(rest, queue[1:]) {
					return true
				}
			case op.value == "":
				if len(queue) == 0 && try(rest, queue) {
					return true
				}
			case len(queue) > 0 && queue[0] == op.value:
				if try(rest, queue[1:]) {
					return true
				}
			}
		}
		return false
	}
	return try(ops, nil)
}

// queueIsLegal reports whether none of the four queue checkers finds a violation.
func queueIsLegal(t *testing.T, ops []tinyOp) bool {
	for _, r := range Run(t.Context(), tinyHistory(ops), QueueNothingInvented(), QueueNothingTwice(), queueFIFOOrder(), QueueEmptyIsTrue()) {
		if r.Verdict == Invalid {
			return false
		}
	}
	return true
}

func show(ops []tinyOp) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "%s %q [%d, %d]\n", op.name, op.value, op.invoke, op.end)
	}
	return b.String()
}

// Together, four queue properties mean linearizability: nothing-invented, nothing-twice, fifo-order
// and empty-is-true. If every outcome is known, their checkers agree with the oracle. If an outcome
// is unknown, the checkers may miss a violation, but they raise no false alarm.
func TestQueueCheckersAgreeWithTheOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := make(map[[2]bool]int)
	missed := 0
	for n := range 8000 {
		unknown := n%4 == 3
		ops := tinyQueue(r, 2+r.IntN(7), unknown)
		want, got := legalOrder(ops), queueIsLegal(t, ops)
		verdicts[[2]bool{want, unknown}]++
		if want != got && unknown && !want {
			missed++ // allowed: see queue/fifo-order
			continue
		}
		if want != got {
			t.Fatalf("legal: the oracle says %v, the checkers say %v, of\n%s", want, got, show(ops))
		}
	}
	for key, n := range verdicts {
		if n < 200 {
			t.Errorf("got only %d histories with legal=%v and unknown=%v, want at least 200", n, key[0], key[1])
		}
	}
	t.Logf("legal and unknown: %v; %d of %d illegal ones with unknown outcomes were let pass", verdicts, missed, verdicts[[2]bool{false, true}])
}

// The test compares the oracle itself with an independent implementation.
func TestOracleAgreesWithPorcupine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		ops := tinyQueue(r, 2+r.IntN(7), false)
		if want, got := porcupineSays(ops), legalOrder(ops); want != got {
			t.Fatalf("legal: porcupine says %v, the oracle says %v, of\n%s", want, got, show(ops))
		}
	}
}

func porcupineSays(ops []tinyOp) bool {
	var all []porcupine.Operation
	for i, op := range ops {
		all = append(all, porcupine.Operation{ClientId: i, Input: op, Call: int64(op.invoke), Return: int64(op.end)})
	}
	return porcupine.CheckOperations(porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			queue, op := state.(string), input.(tinyOp)
			if op.name == "put" {
				return true, queue + op.value + ","
			}
			if op.value == "" {
				return queue == "", queue
			}
			return strings.HasPrefix(queue, op.value+","), strings.TrimPrefix(queue, op.value+",")
		},
	}, all)
}

func FuzzQueueCheckersAgainstOracle(f *testing.F) {
	f.Add(uint64(1), uint64(2), false)
	f.Fuzz(func(t *testing.T, a, b uint64, unknown bool) {
		r := rand.New(rand.NewPCG(a, b))
		ops := tinyQueue(r, 2+r.IntN(7), unknown)
		want, got := legalOrder(ops), queueIsLegal(t, ops)
		if want != got && (want || !unknown) {
			t.Fatalf("legal: the oracle says %v, the checkers say %v, of\n%s", want, got, show(ops))
		}
	})
}
