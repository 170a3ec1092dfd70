package checker

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Referee returns a checker that searches for a linearization with porcupine. Most checkers of this
// package use another method, so Referee can confirm their verdicts. The search takes exponential
// time, so Referee is for small parts of a history only.
//
// On each object, Referee judges the first operations that the model knows, at most `most` of them.
// It skips the object if Model.Blind is true at the end of these operations. If the search takes
// longer than `within`, the verdict is Unknown. Such a long search is likely if sessions were lost
// and the history has a violation.
func Referee(id string, model Model, most int, within time.Duration) Checker {
	claim := fmt.Sprintf("the first %d operations are linearizable as a %s", most, model.Name)
	return New(id, claim, func(h *history.History, j *Judge) {
		j.NotExercised("there was no operation of a %s", model.Name)
		for object, ops := range sorted(model.slices(h, math.MaxInt32, most)) {
			if model.Blind != nil && model.Blind(h, object, lastOf(ops)) {
				j.NotExercised("something happened on %s that a %s does not know", object, model.Name)
				continue
			}
			j.Checked(len(ops))
			switch porcupine.CheckOperationsTimeout(model.porcupine(), ops, within) {
			case porcupine.Illegal:
				j.Violation(nil, "no order of the first %d operations on %s explains their answers", len(ops), object)
			case porcupine.Unknown:
				j.Unknown("the search over %d operations on %s did not end within %v", len(ops), object, within)
			}
		}
	})
}

// lastOf returns the index of the last event of the operations.
func lastOf(ops []porcupine.Operation) (index int32) {
	for _, o := range ops {
		index = max(index, int32(o.Call))
		if answer := o.Output.(*history.Event); answer != nil {
			index = max(index, answer.Index)
		}
	}
	return index
}

// A Slice has the operations on one object up to a violation. Porcupine has confirmed that no order
// of these operations explains the answers.
type Slice struct {
	Object string
	Model  Model

	ops []porcupine.Operation
}

// FailingSlice returns the slice of the violation in r. It returns false in each of these cases:
//   - r has no violation.
//   - The slice has more than `most` operations.
//   - Porcupine does not confirm the violation in the time `within`.
//   - The object is a lock, and before the violation a hold was lost or a client crashed.
//     [MutexModel] does not know losses.
//   - The object is a queue with claims.
func FailingSlice(h *history.History, r Result, most int, within time.Duration) (Slice, bool) {
	if r.Verdict != Invalid || len(r.Events) == 0 {
		return Slice{}, false
	}
	cut := lastAnswer(h, r.Events)
	for _, m := range []Model{MutexModel, QueueModel, RegisterModel, CounterModel} {
		all := m.slices(h, cut, most+1)
		for _, e := range r.Events {
			ops := all[e.Object]
			if len(ops) == 0 || len(ops) > most || m.Blind != nil && m.Blind(h, e.Object, cut) {
				continue
			}
			if porcupine.CheckOperationsTimeout(m.porcupine(), ops, within) == porcupine.Illegal {
				return Slice{e.Object, m, ops}, true
			}
		}
	}
	return Slice{}, false
}

// lastAnswer returns the highest index of the events. If the client of an event had an open
// operation on the same object when the event was recorded, the completion of this operation counts
// too. The ends of holds do not count, because they only show how long the violation lasted.
func lastAnswer(h *history.History, events []history.Event) (index int32) {
	ops, _ := h.Operations()
	for _, e := range events {
		if e.Kind == history.Hold && e.Op != history.HoldBegin {
			continue
		}
		index = max(index, e.Index)
		for _, o := range ops {
			if o.Invoke.Client == e.Client && o.Invoke.Object == e.Object && o.Complete != nil && o.Invoke.Index <= e.Index && e.Index < o.Complete.Index {
				index = max(index, o.Complete.Index)
			}
		}
	}
	return index
}

// WritePicture writes an HTML page that porcupine makes of s. The page shows which operations could
// be put in order, and where the search stopped.
func (s Slice) WritePicture(w io.Writer) error {
	m := s.Model.porcupine()
	_, info := porcupine.CheckOperationsVerbose(m, s.ops, time.Minute)
	if err := porcupine.Visualize(m, info, w); err != nil {
		return fmt.Errorf("checker: write the picture of %s: %w", s.Object, err)
	}
	return nil
}

// Model is a sequential object: it defines the results of operations that run one after another. A
// state is a string, empty at the start.
type Model struct {
	Name string
	// Ops are the operations that the model knows. Others are left out.
	Ops []string
	// Step reports whether `invoke` can have the completion `complete` in the given state. It also
	// returns the next state. If `complete` is nil, the answer is not known, and every answer is
	// possible.
	Step func(state string, invoke, complete *history.Event) (next string, ok bool)
	// Blind reports whether an event that the model does not know, such as a loss, is in the
	// history up to the given index. If so, the model proves nothing. Blind may be nil.
	Blind func(h *history.History, object string, until int32) bool
}

// RegisterModel is a znode that is written, and read after a sync.
var RegisterModel = Model{Name: "register", Ops: []string{OpSetValue, OpRead}, Step: stepRegister}

func stepRegister(state string, invoke, complete *history.Event) (string, bool) {
	if invoke.Op == OpSetValue {
		return invoke.Arg, true
	}
	return state, complete == nil || complete.Result == state
}

// QueueModel is a FIFO queue without claims. Values must not contain a comma.
var QueueModel = Model{Name: "queue", Ops: []string{OpPut, OpTake}, Step: stepQueue, Blind: claims}

func claims(h *history.History, object string, until int32) bool {
	return slices.ContainsFunc(h.Events, func(e history.Event) bool {
		return e.Index <= until && e.Object == object && e.Kind == history.Invoke && e.Op == OpClaim
	})
}

func stepQueue(state string, invoke, complete *history.Event) (string, bool) {
	if invoke.Op == OpPut {
		return state + invoke.Arg + ",", true
	}
	head, rest := "", ""
	for i := range len(state) {
		if state[i] == ',' {
			head, rest = state[:i], state[i+1:]
			break
		}
	}
	return rest, complete == nil || complete.Result == head
}

// MutexModel is a lock. It becomes free when its holder releases it, not when the holder's session
// ends. So the model cannot judge a history with losses.
var MutexModel = Model{Name: "mutex", Ops: []string{OpAcquire, OpRelease}, Step: stepMutex, Blind: losses}

func losses(h *history.History, object string, until int32) bool {
	return slices.ContainsFunc(h.Events, func(e history.Event) bool {
		return e.Index <= until && (e.Kind == history.Hold && e.Op == history.HoldLost && e.Object == object || e.Kind == history.Crash)
	})
}

// stepMutex allows an indeterminate operation in every state, because it may have changed nothing.
func stepMutex(state string, invoke, complete *history.Event) (string, bool) {
	if invoke.Op == OpAcquire {
		return "held", state == "" || complete == nil
	}
	return "", state == "held" || complete == nil
}

func (m Model) knows(op string) bool {
	for _, known := range m.Ops {
		if op == known {
			return true
		}
	}
	return false
}

// The method `slices` lists, for each object, the first operations that were invoked up to the
// index `until`, at most `most` of them. Answers after `until` do not count. Failed operations did
// nothing and are left out. An operation without an answer, or with an indeterminate outcome, has
// no end.
func (m Model) slices(h *history.History, until int32, most int) map[string][]porcupine.Operation {
	all := make(map[string][]porcupine.Operation)
	ops, _ := h.Operations()
	for _, o := range ops {
		object := o.Invoke.Object
		if !m.knows(o.Invoke.Op) || o.Outcome() == session.Failed || o.Invoke.Index > until || len(all[object]) == most {
			continue
		}
		var answer *history.Event
		end := int64(math.MaxInt32)
		if o.Outcome() == session.OK && o.Complete.Index <= until {
			answer, end = o.Complete, int64(o.End())
		}
		all[object] = append(all[object], porcupine.Operation{
			ClientId: int(o.Invoke.Process), Input: o.Invoke, Output: answer,
			Call: int64(o.Invoke.Index), Return: end,
		})
	}
	return all
}

func (m Model) porcupine() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			next, ok := m.Step(state.(string), input.(*history.Event), output.(*history.Event))
			return ok, next
		},
		DescribeOperation: func(input, output any) string {
			invoke, complete := input.(*history.Event), output.(*history.Event)
			answer := "?"
			if complete != nil {
				answer = complete.Result
			}
			return fmt.Sprintf("%s(%s) -> %s", invoke.Op, invoke.Arg, answer)
		},
	}
}
