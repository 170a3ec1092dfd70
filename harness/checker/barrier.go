package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of barriers and of double barriers. A double barrier can be used several times. The
// field Round of an event says to which of these uses the event belongs.
const (
	OpSet    = "set"    // from the completion on, the barrier is set
	OpRemove = "remove" // from the invocation on, the barrier may be absent
	OpWait   = "wait"
	OpEnter  = "enter"
	OpLeave  = "leave"
)

// BarrierNoEarlyPass judges waits. It reports a violation if a wait succeeded although the barrier
// was certainly set during the whole wait.
func BarrierNoEarlyPass() Checker {
	return New("barrier/no-early-pass", "no client passes while the barrier is set", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		standing := stands(ops)
		for _, o := range ops {
			if o.Invoke.Op != OpWait || o.Outcome() != session.OK {
				continue
			}
			j.Checked(1)
			if s, wrong := standsAround(standing[o.Invoke.Object], o); wrong {
				j.Violation(inOrder(s.set.Events(), o.Events(), s.removeEvents()), "%s waited at %s from %v and passed at %v, but the barrier was set from %v on",
					o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, o.Complete.Time, s.set.Complete.Time)
			}
		}
		j.NotExercised("no client passed a barrier")
	})
}

// A stand is an interval in which a barrier was certainly set. It begins when an OpSet completes,
// and ends when the next OpRemove is invoked.
type stand struct {
	set    history.Operation
	remove *history.Event
	to     int32
}

func (s stand) removeEvents() []history.Event {
	if s.remove == nil {
		return nil
	}
	return []history.Event{*s.remove}
}

// The function `stands` lists the stands of each object, in order. If an OpRemove overlaps an
// OpSet, the servers may have applied the OpSet first, and then the OpRemove. So this OpSet begins
// no stand.
func stands(ops []history.Operation) map[string][]stand {
	removes := make(map[string][]history.Operation)
	latest := make(map[string][]int32) // object -> for each of its removes, the latest end of this remove and of all earlier ones
	for _, o := range ops {
		if o.Invoke.Op != OpRemove || o.Outcome() == session.Failed {
			continue
		}
		end := o.End()
		if ends := latest[o.Invoke.Object]; len(ends) > 0 {
			end = max(end, ends[len(ends)-1])
		}
		removes[o.Invoke.Object] = append(removes[o.Invoke.Object], o)
		latest[o.Invoke.Object] = append(latest[o.Invoke.Object], end)
	}
	all := make(map[string][]stand)
	for _, o := range ops {
		if o.Invoke.Op != OpSet || o.Outcome() != session.OK {
			continue
		}
		list := removes[o.Invoke.Object]
		// Only the removes that were invoked before the set completed can overlap the set. If the
		// latest end of these removes comes after the invocation of the set, at least one of these
		// removes overlaps the set. Otherwise none does.
		i, _ := slices.BinarySearchFunc(list, o.Complete.Index, func(r history.Operation, at int32) int { return cmp.Compare(r.Invoke.Index, at) })
		if i > 0 && latest[o.Invoke.Object][i-1] > o.Invoke.Index {
			continue
		}
		s := stand{set: o, to: forever}
		if i < len(list) {
			s.remove, s.to = list[i].Invoke, list[i].Invoke.Index
		}
		all[o.Invoke.Object] = append(all[o.Invoke.Object], s)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b stand) int { return cmp.Compare(a.set.Complete.Index, b.set.Complete.Index) })
	}
	return all
}

func standsAround(list []stand, o history.Operation) (stand, bool) {
	i, _ := slices.BinarySearchFunc(list, o.Invoke.Index, func(s stand, at int32) int { return cmp.Compare(s.set.Complete.Index, at) })
	if i > 0 && list[i-1].to > o.Complete.Index {
		return list[i-1], true
	}
	return stand{}, false
}

// BarrierOpensInTime judges liveness. It requires that, after the heal, no client waits for more
// than inTime while the barrier is surely absent.
func BarrierOpensInTime(inTime time.Duration) Checker {
	return New("barrier/opens-in-time", "every waiter passes in time after the barrier is removed", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble did not recover")
			return
		}
		ops, _ := h.Operations()
		absent, busy := absences(h, ops, inTime), busyTimes(h)
		for _, o := range ops {
			if o.Invoke.Op == OpWait && !endedBefore(o, healed) {
				passes(h, j, o, max(healed.Time, o.Invoke.Time), absent[o.Invoke.Object], busy, inTime)
			}
		}
		j.NotExercised("no client waited after the heal")
	})
}

// An absence is an interval in which a barrier was certainly absent. It begins when an OpRemove
// completes, and ends when the next OpSet is invoked.
type absence struct {
	gone *history.Event
	to   time.Duration
}

// The function `absences` lists, for each object, the absences that are longer than `least`, in
// order. They are disjoint. If an OpSet overlaps an OpRemove, the servers may have applied the
// OpRemove first, and then the OpSet. So this OpRemove begins no absence.
func absences(h *history.History, ops []history.Operation, least time.Duration) map[string][]absence {
	type setting struct {
		invoke *history.Event
		end    int32 // the latest end of this set and of all that began before it
	}
	sets := make(map[string][]setting)
	for _, o := range ops {
		if o.Invoke.Op != OpSet || o.Outcome() == session.Failed {
			continue
		}
		list, end := sets[o.Invoke.Object], o.End()
		if n := len(list); n > 0 {
			end = max(end, list[n-1].end)
		}
		sets[o.Invoke.Object] = append(list, setting{o.Invoke, end})
	}
	all := make(map[string][]absence)
	for _, o := range ops {
		if o.Invoke.Op != OpRemove || o.Outcome() != session.OK {
			continue
		}
		list := sets[o.Invoke.Object]
		i, _ := slices.BinarySearchFunc(list, o.Complete.Index, func(s setting, at int32) int { return cmp.Compare(s.invoke.Index, at) })
		if i > 0 && list[i-1].end > o.Invoke.Index {
			continue
		}
		a := absence{o.Complete, h.End()}
		if i < len(list) {
			a.to = list[i].invoke.Time
		}
		if a.to-a.gone.Time > least {
			all[o.Invoke.Object] = append(all[o.Invoke.Object], a)
		}
	}
	for object, list := range all {
		slices.SortFunc(list, func(a, b absence) int { return cmp.Compare(a.gone.Index, b.gone.Index) })
		// If no set came between two removes, their absences end at the same time. The first
		// absence contains the second, so only the first is kept.
		all[object] = slices.CompactFunc(list, func(a, b absence) bool { return a.to == b.to })
	}
	return all
}

// The function `passes` judges the part of one wait that comes after the time `since`.
func passes(h *history.History, j *Judge, o history.Operation, since time.Duration, absent []absence, busy loaded, inTime time.Duration) {
	j.Checked(1)
	until := h.End()
	if o.Complete != nil {
		until = o.Complete.Time
	}
	i, _ := slices.BinarySearchFunc(absent, since+1, func(a absence, t time.Duration) int { return cmp.Compare(a.to, t) })
	for ; i < len(absent) && absent[i].gone.Time < until; i++ {
		gone := absent[i].gone
		from, to := max(gone.Time, since), min(absent[i].to, until)
		if busy.overdue(j, o.Invoke.Who()+"'s wait at "+o.Invoke.Object, from, to, inTime) {
			j.Violation(inOrder([]history.Event{*gone}, o.Events()), "%s has waited at %s since %v and had not passed %v after the removal at %v",
				o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, to-from, gone.Time)
			return
		}
	}
}

// BarrierNoMissedRemoval judges liveness more strictly than BarrierOpensInTime. It considers each
// client that has waited at a barrier for at least inTime when the barrier is removed. It requires
// that this client passes within inTime after the removal, even if the barrier is set again
// immediately. Time before the heal does not count as waiting.
func BarrierNoMissedRemoval(inTime time.Duration) Checker {
	return New("barrier/no-missed-removal", "a waiter passes even if the barrier is set again at once", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble did not recover")
			return
		}
		busy := busyTimes(h)
		ops, _ := h.Operations()
		removed := make(map[string][]history.Operation)
		for _, o := range ops {
			if o.Invoke.Op == OpRemove && o.Outcome() == session.OK {
				removed[o.Invoke.Object] = append(removed[o.Invoke.Object], o)
			}
		}
		for _, o := range ops {
			until := h.End()
			if o.Complete != nil {
				until = o.Complete.Time
			}
			if o.Invoke.Op != OpWait || until < healed.Time {
				continue
			}
			j.Checked(1)
			looked := max(o.Invoke.Time, healed.Time) + inTime
			all := removed[o.Invoke.Object] // in order of their invocations
			i, _ := slices.BinarySearchFunc(all, looked, func(r history.Operation, t time.Duration) int { return cmp.Compare(r.Invoke.Time, t) })
			for ; i < len(all) && until-all[i].Invoke.Time > inTime; i++ {
				if r := all[i]; busy.overdue(j, o.Invoke.Who()+"'s wait at "+o.Invoke.Object, r.Complete.Time, until, inTime) {
					j.Violation(inOrder(o.Events(), r.Events()), "%s has waited at %s since %v and had not passed %v after the removal at %v",
						o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, until-r.Complete.Time, r.Complete.Time)
					break
				}
			}
		}
		j.NotExercised("no client waited after the heal")
	})
}
