package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// FactEffect is the effect of one acknowledgement of the value in Arg, read from
// the resource in the end.
const FactEffect = "effect"

// effectsOf lists the effects by queue and value.
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

// QueueAckWithEffect judges acknowledgements that apply an effect: in the end it is there, once, if
// the ack is known to have succeeded, and only if one may have.
func QueueAckWithEffect() Checker {
	return New("queue/ack-with-effect", "an acknowledgement and its effect are one", func(h *history.History, j *Judge) {
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
					effects[key] = left[1:] // this one's
				case outcome == session.OK && h.Complete():
					j.Violation(o.Events(), "%s acknowledged %q of %s at %v, and its effect is not there",
						o.Invoke.Who(), o.Invoke.Arg, o.Invoke.Object, o.Complete.Time)
				}
				j.Checked(1)
			}
		}
		for i := range h.Events {
			e := &h.Events[i]
			if left := effects[[2]string{e.Object, e.Arg}]; len(left) > 0 && left[0] == e {
				j.Violation([]history.Event{*e}, "the effect of %q of %s is there without an acknowledgement", e.Arg, e.Object)
			}
		}
		j.NotExercised("nothing was acknowledged")
	})
}
