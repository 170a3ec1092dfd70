package checker

import (
	"cmp"
	"maps"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// The checks for vacuity: a run that did not do what it was made for proves
// nothing. None of them is ever Invalid; they are Valid, Unknown or NotExercised.

// AtLeast is NotExercised unless count finds n of what it counts.
func AtLeast(id string, n int, what string, count func(*history.History) int) Checker {
	return New(id, what+" happened", func(h *history.History, j *Judge) {
		found := count(h)
		if found < n {
			j.NotExercised("%s: %d, and at least %d are needed", what, found, n)
			return
		}
		j.Checked(found)
		j.Note("%d", found)
	})
}

// FaultsHadEffect asks that each fault that began was injected and healed, and that one
// of each name hurt something, with an operation open, or something held, while it
// stood. What the plan had and never began is not in the history: the result names it.
func FaultsHadEffect() Checker {
	return New("run/faults-had-effect", "each fault had an effect while clients worked, and was healed", faultsTookEffect)
}

func faultsTookEffect(h *history.History, j *Judge) {
	type stand struct {
		start *history.Event
		open  bool // an operation was open, or something held, at some time
	}
	standing := make(map[int32]*stand)
	working := 0 // operations open, and holds
	holds := make(map[int32]int)
	for _, hold := range h.Holds() {
		holds[hold.Begin.Index]++
		holds[hold.Last()]--
	}
	effects := make(map[string]int)
	idle := make(map[string]*history.Event) // the last of each name that hurt nobody
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
			standing[e.Round] = &stand{e, working > 0}
		case e.Error != "":
			j.Unknown("fault %d, %s on %s: %s", e.Round, e.Object, e.Node, e.Error)
			delete(standing, e.Round)
		default:
			s := standing[e.Round]
			delete(standing, e.Round)
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
		j.Unknown("fault %d, %s on %s, was never healed", s.start.Round, s.start.Object, s.start.Node)
	}
	j.NotExercised("no fault fired")
	j.Note("%d faults had an effect", j.r.Checked)
	for _, name := range slices.Sorted(maps.Keys(effects)) {
		if effects[name] == 0 {
			j.r.Checked = 0
			if e := idle[name]; e.Result == "" {
				j.NotExercised("no %s ever had an effect: the last did nothing to %s", name, e.Node)
			} else {
				j.NotExercised("no %s ever had an effect: nobody was at work when the last did: %s", name, e.Result)
			}
			return
		}
	}
}

// OperationsSucceeded asks that there were operations, and that each kind of them
// succeeded at least once.
func OperationsSucceeded() Checker {
	return New("run/operations-succeeded", "each kind of operation succeeded", func(h *history.History, j *Judge) {
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

// Contention asks that n times somebody asked for what another one held, then
// or before it was answered.
func Contention(n int) Checker {
	return AtLeast("run/contention", n, "a wait for what another one held", func(h *history.History) int {
		held := make(map[string]int)
		over := slices.Clone(h.Holds()) // by the index as of which they are
		slices.SortFunc(over, func(a, b history.HoldInterval) int { return cmp.Compare(a.Last(), b.Last()) })
		asking := make(map[string]map[int16]bool) // by object and client, those that nobody was in the way of so far
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

// Takeovers asks that n times somebody was granted what another one had lost.
func Takeovers(n int) Checker {
	return AtLeast("run/takeovers", n, "a grant of what another one had lost", func(h *history.History) int {
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

// Grants asks for n grants.
func Grants(n int) Checker {
	return AtLeast("run/grants", n, "a grant", func(h *history.History) int { return len(h.Holds()) })
}

// SessionLosses asks that clients were told n times that their session is lost.
func SessionLosses(n int) Checker {
	return AtLeast("run/session-losses", n, "a lost session", func(h *history.History) int {
		found := 0
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Session && e.Op == history.SessionLost {
				found++
			}
		}
		return found
	})
}

// Fenced asks that the resource refused n accesses: fencing was needed.
func Fenced(n int) Checker {
	return AtLeast("run/fenced", n, "an access refused by the fence", func(h *history.History) int {
		found := 0
		for i := range h.Events {
			if e := &h.Events[i]; e.Kind == history.Write && e.Op == history.WriteRejected {
				found++
			}
		}
		return found
	})
}
