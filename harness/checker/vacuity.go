package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// The checks for vacuity. A run that did not exercise what it is for proves nothing. These checks
// are never Invalid; they are Valid, Unknown or NotExercised.

// AtLeast returns a checker that is NotExercised unless count finds at least n. what is a plural,
// such as "grants".
func AtLeast(id string, n int, what string, count func(*history.History) int) Checker {
	return New(id, fmt.Sprintf("at least %d %s", n, what), func(h *history.History, j *Judge) {
		found := count(h)
		if found < n {
			j.NotExercised("%d %s: at least %d are needed", found, what, n)
			return
		}
		j.Checked(found)
		j.Note("%d", found)
	})
}

// FaultsHadEffect requires that each fault that began was injected and healed. It also requires
// that one fault of each name had an effect while an operation was open or something was held. A
// fault of the plan that never began is not in the history; the result names it.
func FaultsHadEffect() Checker {
	return New("run/faults-had-effect", "each fault had an effect while clients worked, and was healed", faultsTookEffect)
}

func faultsTookEffect(h *history.History, j *Judge) {
	type stand struct {
		start *history.Event
		open  bool // at some time an operation was open or something was held
	}
	standing := make(map[int32]*stand)
	working := 0 // operations open, and holds
	holds := make(map[int32]int)
	for _, hold := range h.Holds() {
		holds[hold.Begin.Index]++
		holds[hold.Last()]--
	}
	effects := make(map[string]int)
	idle := make(map[string]*history.Event) // the last fault of each name without an effect
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
			j.Unknown("fault %d, %s on %s: %s", e.Step, e.Object, e.Node, e.Error)
			delete(standing, e.Step)
		default:
			s := standing[e.Step]
			delete(standing, e.Step)
			if s != nil && s.open && e.Result != "" {
				effects[e.Object]++
				j.Checked(1)
			} else {
				idle[e.Object] = e
			}
			if _, known := effects[e.Object]; !known {
				effects[e.Object] = 0
			}
		}
	}
	for _, s := range standing {
		j.Unknown("fault %d, %s on %s, was never healed", s.start.Step, s.start.Object, s.start.Node)
	}
	j.NotExercised("no fault was injected")
	j.Note("%d faults had an effect", j.r.Checked)
	for _, name := range slices.Sorted(maps.Keys(effects)) {
		if effects[name] == 0 {
			j.r.Checked = 0
			if e := idle[name]; e.Result == "" {
				j.NotExercised("no %s had an effect: the last one did not affect %s", name, e.Node)
			} else {
				j.NotExercised("no %s had an effect while a client worked: the last one was %s", name, e.Result)
			}
			return
		}
	}
}

// OperationsSucceeded requires that there were operations, and that each kind of them succeeded at
// least once.
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

// Contention requires that a client waited n times for something that another client held, at the
// invocation or before the completion.
func Contention(n int) Checker {
	return AtLeast("run/contention", n, "waits for something that another client held", func(h *history.History) int {
		held := make(map[string]int)
		over := slices.Clone(h.Holds()) // by the index of their ends
		slices.SortFunc(over, func(a, b history.HoldInterval) int { return cmp.Compare(a.Last(), b.Last()) })
		asking := make(map[string]map[int16]bool) // by object and client, the requests that did not have to wait so far
		found := 0
		for i := range h.Events {
			e := &h.Events[i]
			for ; len(over) > 0 && over[0].Last() <= e.Index; over = over[1:] {
				held[over[0].Begin.Object]--
			}
			switch {
			case e.Kind == history.Hold && e.Op == history.HoldBegin:
				held[e.Object]++
				for client := range asking[e.Object] {
					if client != e.Client {
						delete(asking[e.Object], client)
						found++
					}
				}
			case e.Op != OpAcquire && e.Op != OpCampaign:
			case e.Kind == history.Invoke && held[e.Object] > 0:
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

// Takeovers requires that a client was granted n times what another client had lost.
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

// Fenced requires that the resource refused n accesses, so that fencing was needed.
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
