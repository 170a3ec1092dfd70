package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// FactEffect records one effect of an ack. The resource has this effect at the end of the run.
// Object is the queue, and Arg is the value that was acked.
const FactEffect = "effect"

// effectsOf returns the effects of acks. The key consists of the queue and the acked value.
func effectsOf(h *history.History) map[[2]string][]*history.Event {
	effects := make(map[[2]string][]*history.Event)
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Fact && e.Op == FactEffect {
			key := [2]string{e.Object, e.Arg}
			effects[key] = append(effects[key], e)
		}
	}
	return effects
}

// QueueAckWithEffect judges acks that apply an effect to a resource. It requires that, at the end
// of the run, each ack that succeeded has one effect, and each ack with an unknown outcome has one
// effect or none. There must be no other effects.
func QueueAckWithEffect() Checker {
	return New("queue/ack-with-effect", "an ack and its effect happen together or not at all", func(h *history.History, j *Judge) {
		effects := effectsOf(h)
		ops, _ := h.Operations()
		for _, outcome := range []session.Outcome{session.OK, session.Indeterminate} {
			for _, o := range ops {
				if o.Invoke.Op != OpAck || o.Outcome() != outcome {
					continue
				}
				key := [2]string{o.Invoke.Object, o.Invoke.Arg}
				switch left := effects[key]; {
				case len(left) > 0:
					effects[key] = left[1:] // the first of the remaining effects belongs to this ack
				case outcome == session.OK && h.Complete():
					j.Violation(o.Events(), "%s acked %q of %s at %v, but the effect is missing",
						o.Invoke.Who(), o.Invoke.Arg, o.Invoke.Object, o.Complete.Time)
				}
				j.Checked(1)
			}
		}
		for i := range h.Events {
			e := &h.Events[i]
			if left := effects[[2]string{e.Object, e.Arg}]; len(left) > 0 && left[0] == e {
				j.Violation([]history.Event{*e}, "the effect of %q of %s exists, but no ack can have caused it", e.Arg, e.Object)
			}
		}
		j.NotExercised("no item was acked")
	})
}
