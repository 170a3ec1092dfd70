package checker

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Referee makes a checker that searches for a linearization with porcupine. It is
// the second opinion on what the checkers of this package find by other means, and
// only for small slices: the search is exponential, and a few lost sessions together
// with a violation keep it from ending. It judges the first operations named in
// the model, at most that many for each object, and is Unknown if within does not suffice.
func Referee(id string, model Model, most int, within time.Duration) Checker {
	claim := fmt.Sprintf("the first %d operations are linearizable as a %s", most, model.Name)
	return New(id, claim, func(h *history.History, j *Judge) {
		for object, ops := range sorted(model.slices(h, most)) {
			j.Saw(len(ops))
			switch porcupine.CheckOperationsTimeout(model.porcupine(), ops, within) {
			case porcupine.Illegal:
				j.Violation(nil, "no order of the first %d operations on %s explains what was answered", len(ops), object)
			case porcupine.Unknown:
				j.Unknown("the search over %d operations on %s did not end within %v", len(ops), object, within)
			}
		}
		j.Idle("there was no operation of a %s", model.Name)
	})
}

// WritePicture writes porcupine's page for the slice of one object that Referee
// judged: what could be put in order, and where it broke off.
func WritePicture(ctx context.Context, w io.Writer, h *history.History, model Model, object string, most int) error {
	within := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		within = time.Until(deadline)
	}
	m, ops := model.porcupine(), model.slices(h, most)[object]
	_, info := porcupine.CheckOperationsVerbose(m, ops, within)
	if err := porcupine.Visualize(m, info, w); err != nil {
		return fmt.Errorf("checker: picture of %s: %w", object, err)
	}
	return nil
}

// Model is a sequential object: what its operations do one after another. States
// are strings, empty at the start.
type Model struct {
	Name string
	// Ops are the operations it knows; others are left out.
	Ops []string
	// Step says whether, in the state, op can be answered by the completion, and
	// what the state is then. If the completion is nil nobody knows the answer, and
	// every one is possible.
	Step func(state string, invoke, complete *history.Event) (next string, ok bool)
}

// RegisterModel is a znode that is written and read (behind a sync).
var RegisterModel = Model{Name: "register", Ops: []string{OpSetValue, OpRead}, Step: stepRegister}

func stepRegister(state string, invoke, complete *history.Event) (string, bool) {
	if invoke.Op == OpSetValue {
		return invoke.Arg, true
	}
	return state, complete == nil || complete.Result == state
}

// QueueModel is a FIFO queue without claims. Values must not contain a comma.
var QueueModel = Model{Name: "queue", Ops: []string{OpPut, OpTake}, Step: stepQueue}

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

// MutexModel is a lock. It is free when its holder releases it, not when the
// holder's session ends: a history with losses is illegal in it.
var MutexModel = Model{Name: "mutex", Ops: []string{OpAcquire, OpRelease}, Step: stepMutex}

func stepMutex(state string, invoke, _ *history.Event) (string, bool) {
	if invoke.Op == OpAcquire {
		return "held", state == ""
	}
	return "", state == "held"
}

func (m Model) knows(op string) bool {
	for _, known := range m.Ops {
		if op == known {
			return true
		}
	}
	return false
}

// slices lists the first operations of each object. Those that failed did nothing
// and are left out; those of which nobody knows have no end.
func (m Model) slices(h *history.History, most int) map[string][]porcupine.Operation {
	all := make(map[string][]porcupine.Operation)
	ops, _ := h.Operations()
	for _, o := range ops {
		object := o.Invoke.Object
		if !m.knows(o.Invoke.Op) || o.Outcome() == history.Fail || len(all[object]) == most {
			continue
		}
		var answer *history.Event
		if o.Outcome() == history.OK {
			answer = o.Complete
		}
		all[object] = append(all[object], porcupine.Operation{
			ClientId: int(o.Invoke.Process), Input: o.Invoke, Output: answer,
			Call: int64(o.Invoke.Index), Return: int64(o.End()),
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
