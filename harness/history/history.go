package history

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// Version is the version of the schema that this package writes.
const Version = 1

// ErrMalformed means that a history breaks a rule that every client must follow. For example, it
// has a completion without an invocation, or a process begins a second operation before it has
// completed the first. No conclusions can be drawn from such a history.
var ErrMalformed = errors.New("history: malformed")

// Header describes the run that a history records.
type Header struct {
	Scenario string    `json:"scenario,omitempty"`
	Seed     uint64    `json:"seed,omitempty"`
	Ensemble string    `json:"ensemble,omitempty"`
	Client   string    `json:"client,omitempty"` // the command of its clients, if they are not the scenario's own
	Start    time.Time `json:"start,omitzero"`
}

// History is a recorded run. Events are in order of their indexes. They must not be changed after
// the first call of Operations or Holds, because these methods compute their results only once.
type History struct {
	Header
	Events []Event

	pairing    sync.Once
	operations []Operation
	malformed  error

	holding sync.Once
	holds   []HoldInterval
}

// New returns a history of events, numbered in the given order. If all times are zero, New sets
// them to the index in milliseconds, for histories written by hand.
func New(events ...Event) *History {
	untimed := true
	for i := range events {
		events[i].Index = int32(i)
		untimed = untimed && events[i].Time == 0
	}
	for i := range events {
		if untimed {
			events[i].Time = time.Duration(i) * time.Millisecond
		}
	}
	return &History{Events: events}
}

// Complete reports whether the run of h reached its end. If the run did not reach its end, the
// absence of an event proves nothing.
func (h *History) Complete() bool {
	n := len(h.Events)
	return n > 0 && h.Events[n-1].Kind == Phase && h.Events[n-1].Op == PhaseEnd
}

// PhaseStart returns the first event of the phase, or nil.
func (h *History) PhaseStart(phase string) *Event {
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == Phase && e.Op == phase {
			return e
		}
	}
	return nil
}

// ClockFault returns the name of the first fault that changed a clock or the timers of a server. It
// is empty if there was none. After such a fault, times that the servers recorded mean nothing.
func (h *History) ClockFault() string {
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind == Fault && (strings.HasPrefix(e.Object, "clock-") || strings.HasPrefix(e.Object, "timers-")) {
			return e.Object
		}
	}
	return ""
}

// End returns the time of the last event, or zero for an empty history.
func (h *History) End() time.Duration {
	if len(h.Events) == 0 {
		return 0
	}
	return h.Events[len(h.Events)-1].Time
}

// Operation is an invocation with its completion. Complete is nil if the history ended before the
// operation completed. Such an operation may have taken effect.
type Operation struct {
	Invoke, Complete *Event
}

// Outcome returns whether the operation took effect. Without a completion it is Indeterminate.
func (o Operation) Outcome() session.Outcome {
	if o.Complete == nil {
		return session.Indeterminate
	}
	switch o.Complete.Kind {
	case OK:
		return session.OK
	case Fail:
		return session.Failed
	}
	return session.Indeterminate
}

// End returns the index of the completion. If the operation is not known to have ended, it returns
// the largest index, because the operation can still take effect.
func (o Operation) End() int32 {
	if o.Complete == nil || o.Complete.Kind == Info {
		return 1<<31 - 1
	}
	return o.Complete.Index
}

// Events returns the invocation and, if there is one, the completion.
func (o Operation) Events() []Event {
	if o.Complete == nil {
		return []Event{*o.Invoke}
	}
	return []Event{*o.Invoke, *o.Complete}
}

// Operations pairs invocations with completions, in order of invocation. The error wraps
// [ErrMalformed]. The slice is shared and must not be changed.
func (h *History) Operations() ([]Operation, error) {
	h.pairing.Do(func() { h.operations, h.malformed = pair(h.Events) })
	return h.operations, h.malformed
}

func pair(events []Event) ([]Operation, error) {
	n := 0
	for i := range events {
		if events[i].Kind == Invoke {
			n++
		}
	}
	ops := make([]Operation, 0, n)
	open := make(map[int32]int) // process -> its operation
	for i := range events {
		e := &events[i]
		switch {
		case e.Kind == Invoke:
			if at, busy := open[e.Process]; busy {
				return nil, fmt.Errorf("%w: process %d invokes %s at %d while its %s from %d is open",
					ErrMalformed, e.Process, e.Op, e.Index, ops[at].Invoke.Op, ops[at].Invoke.Index)
			}
			open[e.Process] = len(ops)
			ops = append(ops, Operation{Invoke: e})
		case e.Kind.Completion():
			at, busy := open[e.Process]
			if !busy || ops[at].Invoke.Op != e.Op {
				return nil, fmt.Errorf("%w: process %d completes %s at %d, which it has not invoked",
					ErrMalformed, e.Process, e.Op, e.Index)
			}
			ops[at].Complete = e
			delete(open, e.Process)
		}
	}
	return ops, nil
}

// HoldInterval is an interval in which a program had reason to believe that it held an object. The
// field Object of the event Begin names the object. End is nil if the history ended before the hold
// did.
type HoldInterval struct {
	Begin, End *Event
}

// Lost reports whether the hold ended without being given up: it was lost, or its client crashed.
func (i HoldInterval) Lost() bool {
	return i.End != nil && !(i.End.Kind == Hold && i.End.Op == HoldEnd)
}

// Last returns the index of the end, or the largest index if there is no end.
func (i HoldInterval) Last() int32 {
	if i.End == nil {
		return 1<<31 - 1
	}
	return i.End.Index
}

// Events returns the event of the start and, if there is one, the event of the end.
func (i HoldInterval) Events() []Event {
	if i.End == nil {
		return []Event{*i.Begin}
	}
	return []Event{*i.Begin, *i.End}
}

// Holds returns the hold intervals in order of their starts. A hold ends when it is given up, when
// it is lost or when its client crashes, whichever is first. The slice is shared and must not be
// changed.
func (h *History) Holds() []HoldInterval {
	h.holding.Do(func() { h.holds = holds(h.Events) })
	return h.holds
}

func holds(events []Event) []HoldInterval {
	type grant struct {
		client int16
		object string
		token  int64
	}
	var all []HoldInterval
	open := make(map[grant]int)
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case Hold:
			g := grant{e.Client, e.Object, e.Token}
			if e.Op == HoldBegin {
				open[g] = len(all)
				all = append(all, HoldInterval{Begin: e})
			} else if at, ok := open[g]; ok {
				all[at].End = e
				delete(open, g)
			}
		case Crash:
			for g, at := range open {
				if g.client == e.Client {
					all[at].End = e
					delete(open, g)
				}
			}
		}
	}
	return all
}
