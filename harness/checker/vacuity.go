package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// A run that did not exercise its subject proves nothing. The checkers below find such runs. Their
// verdict is Valid, Unknown or NotExercised, but never Invalid.

// usualWork is the length of the phase of work that scenarios assume when they choose the n of
// AtLeast.
const usualWork = 20 * time.Second

// AtLeast returns a checker that is NotExercised unless the function `count` finds at least n. The
// parameter `what` is a plural, such as "grants". If the phase of work was shorter than 20 s, n is
// reduced in proportion, but at least one is required.
func AtLeast(id string, n int, what string, count func(*history.History) int) Checker {
	return New(id, fmt.Sprintf("at least %d %s", n, what), func(h *history.History, j *Judge) {
		found, need := count(h), scaled(n, h)
		if found < need {
			j.NotExercised("%d %s: at least %d are needed", found, what, need)
			return
		}
		j.Checked(found)
		j.Note("%d", found)
	})
}

// The function `scaled` returns n in proportion to the length of the work.
func scaled(n int, h *history.History) int {
	work, heal := h.PhaseStart(history.PhaseWork), h.PhaseStart(history.PhaseHeal)
	if work == nil || heal == nil || heal.Time-work.Time >= usualWork {
		return n
	}
	return max(1, int(time.Duration(n)*(heal.Time-work.Time)/usualWork))
}

// FaultsHadEffect requires that each fault that began was injected and healed. It also requires
// that at least one fault had an effect while an operation was open or something was held. The
// reason in the result names the faults without such an effect, but they do not change the verdict.
// Planned faults that never began are not judged.
func FaultsHadEffect() Checker {
	return New("run/faults-had-effect", "each fault was healed, and some had an effect while clients worked", faultsTookEffect)
}

// IdleFaults returns the faults that began and never had an effect while clients worked. The key is
// the name of a fault. The value says why the last fault with this name does not count: it did not
// affect its target, or no client worked while the fault was active.
func IdleFaults(h *history.History) map[string]string {
	idle, _ := effectsOfFaults(h, func(string, ...any) {})
	return idle
}

func faultsTookEffect(h *history.History, j *Judge) {
	idle, effects := effectsOfFaults(h, j.Unknown)
	j.Checked(effects)
	note := fmt.Sprintf("%d faults had an effect", effects)
	switch names := slices.Sorted(maps.Keys(idle)); {
	case len(names) == 0:
		j.NotExercised("no fault was injected")
	default:
		j.NotExercised("no %s had an effect: %s", names[0], idle[names[0]])
		note += ", but no " + strings.Join(names, ", no ")
	}
	j.Note("%s", note)
}

// effectsOfFaults returns the result of IdleFaults, and the number of faults that had an effect
// while clients worked. It calls `unknown` for each fault that was not injected or not healed.
func effectsOfFaults(h *history.History, unknown func(format string, args ...any)) (idle map[string]string, sum int) {
	type stand struct {
		start *history.Event
		open  bool // an operation was open or something was held at some time during the fault
	}
	standing := make(map[int32]*stand)
	working := 0 // number of open operations and holds
	holds := make(map[int32]int)
	for _, hold := range h.Holds() {
		holds[hold.Begin.Index]++
		holds[hold.Last()]--
	}
	effects := make(map[string]bool)
	idle = make(map[string]string)
	for i := range h.Events {
		e := &h.Events[i]
		change := holds[e.Index]
		switch {
		case e.Kind == history.Invoke:
			change++
		case e.Kind.Completion():
			change--
		}
		if working += change; change > 0 {
			for _, s := range standing {
				s.open = true
			}
		}
		switch {
		case e.Kind != history.Fault:
		case e.Op == history.FaultStart:
			standing[e.Step] = &stand{e, working > 0}
		case e.Error != "":
			unknown("fault %d, %s on %s: %s", e.Step, e.Object, e.Node, e.Error)
			delete(standing, e.Step)
		default:
			s := standing[e.Step]
			delete(standing, e.Step)
			switch {
			case e.Result == "":
				idle[e.Object] = "the last one did not affect " + e.Node
			case s == nil || !s.open:
				idle[e.Object] = "the last one, when no client worked, was " + e.Result
			default:
				effects[e.Object] = true
				sum++
			}
		}
	}
	for _, s := range standing {
		unknown("fault %d, %s on %s, was never healed", s.start.Step, s.start.Object, s.start.Node)
	}
	maps.DeleteFunc(idle, func(name, _ string) bool { return effects[name] })
	return idle, sum
}

// OperationsSucceeded requires that there were operations, and that each kind of operation
// succeeded at least once.
func OperationsSucceeded() Checker {
	return New("run/operations-succeeded", "each kind of operation succeeded at least once", func(h *history.History, j *Judge) {
		kinds := make(map[string]int)
		ops, _ := h.Operations()
		for _, o := range ops {
			if _, known := kinds[o.Invoke.Op]; !known {
				kinds[o.Invoke.Op] = 0
			}
			if o.Outcome() == session.OK {
				kinds[o.Invoke.Op]++
				j.Checked(1)
			}
		}
		j.NotExercised("no operation succeeded")
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[kind] == 0 && j.r.Checked > 0 {
				j.r.Checked = 0
				j.NotExercised("no %s succeeded", kind)
			}
		}
	})
}

// Contention requires n requests that had to wait for another client. The other client held the
// object when the request was invoked, or was granted the object before the request completed.
func Contention(n int) Checker {
	return AtLeast("run/contention", n, "waits for something that another client held", func(h *history.History) int {
		holds := make(map[string]map[int16]int) // number of holds, by object and client
		over := slices.Clone(h.Holds())         // in the order of their ends
		slices.SortFunc(over, func(a, b history.HoldInterval) int { return cmp.Compare(a.Last(), b.Last()) })
		asking := make(map[string]map[int16]bool) // by object and client, the open requests that have not had to wait so far
		found := 0
		for i := range h.Events {
			e := &h.Events[i]
			for ; len(over) > 0 && over[0].Last() <= e.Index; over = over[1:] {
				begin := over[0].Begin
				if holds[begin.Object][begin.Client]--; holds[begin.Object][begin.Client] == 0 {
					delete(holds[begin.Object], begin.Client)
				}
			}
			switch {
			case e.Kind == history.Hold && e.Op == history.HoldBegin:
				if holds[e.Object] == nil {
					holds[e.Object] = make(map[int16]int)
				}
				holds[e.Object][e.Client]++
				for client := range asking[e.Object] {
					if client != e.Client {
						delete(asking[e.Object], client)
						found++
					}
				}
			case e.Op != OpAcquire && e.Op != OpCampaign:
			case e.Kind == history.Invoke && othersHold(holds[e.Object], e.Client):
				found++
			case e.Kind == history.Invoke:
				if asking[e.Object] == nil {
					asking[e.Object] = make(map[int16]bool)
				}
				asking[e.Object][e.Client] = true
			case e.Kind.Completion():
				delete(asking[e.Object], e.Client)
			}
		}
		return found
	})
}

// othersHold reports whether a client other than the given one has a hold. The map has the number
// of holds of each client.
func othersHold(holds map[int16]int, client int16) bool {
	_, own := holds[client]
	return len(holds) > 1 || len(holds) == 1 && !own
}

// Takeovers requires n grants of something that another client had lost.
func Takeovers(n int) Checker {
	return AtLeast("run/takeovers", n, "grants of something that another client had lost", func(h *history.History) int {
		lost := make(map[string]int16)
		found := 0
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Hold {
				continue
			}
			switch from, vacant := lost[e.Object]; e.Op {
			case history.HoldLost:
				lost[e.Object] = e.Client
			case history.HoldBegin:
				if vacant && from != e.Client {
					found++
				}
				delete(lost, e.Object)
			}
		}
		return found
	})
}

// Grants requires n grants.
func Grants(n int) Checker {
	return AtLeast("run/grants", n, "grants", func(h *history.History) int { return len(h.Holds()) })
}

// SessionLosses requires that clients lost n sessions.
func SessionLosses(n int) Checker {
	return AtLeast("run/session-losses", n, "lost sessions", func(h *history.History) int {
		found := 0
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Session && e.Op == history.SessionLost {
				found++
			}
		}
		return found
	})
}

// Fenced requires that the resource refused n accesses, which shows that fencing was needed.
func Fenced(n int) Checker {
	return AtLeast("run/fenced", n, "accesses refused by the fence", func(h *history.History) int {
		found := 0
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Write && e.Op == history.WriteRejected {
				found++
			}
		}
		return found
	})
}
