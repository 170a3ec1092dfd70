package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
)

// The type `nemesis` follows a plan. It runs in one goroutine, so its actions have one order.
type nemesis struct {
	env      *Env
	faults   map[string]Fault
	injected []standing // by due time
	begun    time.Time
	idle     []string // names of faults that have had no effect so far
	had      map[string]bool
}

type standing struct {
	Injected
	step  Step
	due   time.Time
	index int // of its step in the plan; its start event and its stop event both refer to that step
}

func newNemesis(env *Env, faults []Fault) *nemesis {
	n := &nemesis{env: env, faults: make(map[string]Fault), had: make(map[string]bool)}
	for _, f := range faults {
		n.faults[f.Name()] = f
	}
	return n
}

// The method `follow` injects and heals faults at the times of the plan, until the plan is done or
// the context `working` ends. The caller then heals the faults that are still active, with healAll.
// The end of `working` does not interrupt an injection. An injection is interrupted only if ctx
// ends, or if the injection takes longer than the scenario's grace.
//
// If a fault ends later than planned because its injection was slow, all later steps are delayed by
// the same amount. So faults that the plan separates do not overlap.
func (n *nemesis) follow(ctx, working context.Context, plan Plan) {
	start := time.Now()
	n.begun = start
	for i, s := range plan {
		at := start.Add(s.At)
		for len(n.injected) > 0 && !n.injected[0].due.After(at) {
			if !sleepUntil(working, n.injected[0].due) {
				return
			}
			n.healFirst(ctx)
		}
		if !sleepUntil(working, at) {
			return
		}
		over := n.inject(ctx, i, s)
		start = start.Add(max(0, over.Sub(at.Add(s.For))))
	}
	for len(n.injected) > 0 && sleepUntil(working, n.injected[0].due) {
		n.healFirst(ctx)
	}
}

// The method `again` injects faults whose planned injections had no effect, while time is left. It
// draws a new step for one of these faults after another, until each of them has had an effect. It
// returns the new steps. The plan has `after` steps so far, and the new steps are numbered from
// there.
func (n *nemesis) again(ctx, working context.Context, after int) (more Plan) {
	end, _ := working.Deadline()
	r := rand.New(rand.NewPCG(n.env.Seed, 0x616761696e)) // "again"
	for at := time.Now(); len(n.idle) > 0; {
		f := n.faults[n.idle[0]]
		s := f.Draw(r, n.env)
		s.Fault, s.At = f.Name(), at.Sub(n.begun).Round(time.Millisecond)
		n.idle = n.idle[1:]
		if at.Add(s.For).After(end) {
			continue
		}
		more = append(more, s)
		over := n.inject(ctx, after+len(more)-1, s)
		if !sleepUntil(working, over) {
			break
		}
		n.healAll(ctx)
		if at = over.Add(shortestGap); !sleepUntil(working, at) {
			break
		}
	}
	return more
}

// The method `inject` injects the fault of step s, and returns the time at which the fault is due
// to end. It records the start event before it calls Fault.Inject, and healFirst records the stop
// event after the heal. So the fault can be active only between these two events.
func (n *nemesis) inject(ctx context.Context, i int, s Step) (over time.Time) {
	f, known := n.faults[s.Fault]
	if !known {
		n.record(history.FaultStop, i, s, s.Target, "", fmt.Errorf("the scenario has no such fault"))
		return time.Now()
	}
	if err := f.Able(n.env); err != nil { // possible in a plan that was not drawn for this ensemble
		n.record(history.FaultStop, i, s, s.Target, "", fmt.Errorf("not injected: %w", err))
		return time.Now()
	}
	n.record(history.FaultStart, i, s, s.Target, "", nil)
	bounded, cancel := context.WithTimeout(ctx, n.env.grace)
	defer cancel()
	w, err := f.Inject(bounded, n.env, s)
	if err != nil {
		n.record(history.FaultStop, i, s, s.Target, "", fmt.Errorf("not injected: %w", err))
		return time.Now()
	}
	if w.Target == "" {
		w.Target = s.Target
	}
	over = time.Now()
	if w.Heal != nil {
		over = over.Add(s.For)
	}
	n.injected = append(n.injected, standing{w, s, over, i})
	slices.SortStableFunc(n.injected, func(a, b standing) int { return a.due.Compare(b.due) })
	return over
}

func (n *nemesis) healFirst(ctx context.Context) {
	w := n.injected[0]
	n.injected = n.injected[1:]
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.env.grace)
	defer cancel()
	evidence, err := w.Evidence, error(nil)
	if w.Heal != nil {
		evidence, err = w.Heal(bounded)
	}
	n.record(history.FaultStop, w.index, w.step, w.Target, evidence, err)
	n.idle = slices.DeleteFunc(n.idle, func(name string) bool { return name == w.step.Fault })
	if n.had[w.step.Fault] = n.had[w.step.Fault] || evidence != ""; !n.had[w.step.Fault] && err == nil {
		n.idle = append(n.idle, w.step.Fault)
	}
	if err != nil {
		n.env.problem(fmt.Errorf("fault %s on %s was not healed: %w", w.step.Fault, w.Target, err))
	}
}

// healAll heals all active faults, even if ctx has ended.
func (n *nemesis) healAll(ctx context.Context) {
	for len(n.injected) > 0 {
		n.healFirst(ctx)
	}
}

// The method `record` records a fault event for the step with index i of the plan. The Step of the
// event is i+1.
func (n *nemesis) record(op string, i int, s Step, target, evidence string, err error) {
	e := history.Event{Kind: history.Fault, Op: op, Object: s.Fault, Node: target, Arg: s.Arg,
		Result: evidence, Step: int32(i + 1), Client: history.Nobody, Process: history.Nobody}
	if err != nil {
		e.Error = err.Error()
	}
	n.env.rec.Record(e)
}

// sleepUntil waits until t. It returns false if ctx ends first.
func sleepUntil(ctx context.Context, t time.Time) bool { return times.Sleep(ctx, time.Until(t)) }
