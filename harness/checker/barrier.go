package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Operations of barriers, and of double barriers, whose Round tells one use from
// the next.
const (
	OpSet    = "set"    // the barrier stands when it completes
	OpRemove = "remove" // it may be gone as soon as this is invoked
	OpWait   = "wait"
	OpEnter  = "enter"
	OpLeave  = "leave"
)

// B1 judges barriers: a wait ends only if at some moment of it the barrier may
// have been gone.
func B1() Checker {
	return New("B1", "nobody passes a barrier that stands", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		standing := stands(ops)
		for _, o := range ops {
			if o.Invoke.Op != OpWait || o.Outcome() != history.OK {
				continue
			}
			j.Saw(1)
			if s, wrong := standsAround(standing[o.Invoke.Object], o); wrong {
				j.Violation(inOrder(s.set.Events(), o.Events(), s.removeEvents()), "%s waited at %s from %v and passed at %v, though it stood from %v on",
					o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, o.Complete.Time, s.set.Complete.Time)
			}
		}
		j.Idle("nobody passed a barrier")
	})
}

// stand is a time in which a barrier surely stood: from the completion of a set to
// the next invocation of a remove.
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

// stands lists them by object, in order. A remove that overlaps the set may have
// come after it, so such a set proves nothing.
func stands(ops []history.Operation) map[string][]stand {
	removes := make(map[string][]history.Operation)
	for _, o := range ops {
		if o.Invoke.Op == OpRemove && o.Outcome() != history.Fail {
			removes[o.Invoke.Object] = append(removes[o.Invoke.Object], o)
		}
	}
	all := make(map[string][]stand)
	for _, o := range ops {
		if o.Invoke.Op != OpSet || o.Outcome() != history.OK {
			continue
		}
		list := removes[o.Invoke.Object]
		// Removes are in order of their invocations; one invoked before the set
		// completed matters only if it had not ended before the set began.
		i, _ := slices.BinarySearchFunc(list, o.Complete.Index, func(r history.Operation, at int32) int { return cmp.Compare(r.Invoke.Index, at) })
		if slices.ContainsFunc(list[:i], func(r history.Operation) bool { return r.End() > o.Invoke.Index }) {
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

// B2 judges liveness: after the heal a wait ends within inTime of the removal of
// the barrier, unless it was set again in that time.
func B2(inTime time.Duration) Checker {
	return New("B2", "everybody passes in time once the barrier is gone", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble was never healthy again")
			return
		}
		ops, _ := h.Operations()
		removed := make(map[string][]*history.Event)
		sets := make(map[string][]int32)
		for _, o := range ops {
			switch {
			case o.Invoke.Op == OpRemove && o.Outcome() == history.OK:
				removed[o.Invoke.Object] = append(removed[o.Invoke.Object], o.Complete)
			case o.Invoke.Op == OpSet && o.Outcome() != history.Fail:
				sets[o.Invoke.Object] = append(sets[o.Invoke.Object], o.Invoke.Index)
			}
		}
		for _, o := range ops {
			if o.Invoke.Op == OpWait && o.End() > healed.Index {
				passes(h, j, o, healed, removed[o.Invoke.Object], sets[o.Invoke.Object], inTime)
			}
		}
		j.Idle("nobody waited after the heal")
	})
}

func passes(h *history.History, j *Judge, o history.Operation, healed *history.Event, removed []*history.Event, sets []int32, inTime time.Duration) {
	j.Saw(1)
	until := h.End()
	if o.Complete != nil {
		until = o.Complete.Time
	}
	for _, gone := range removed {
		since := max(gone.Time, o.Invoke.Time, healed.Time)
		if gone.Index > o.End() || until-since <= inTime {
			continue
		}
		// Set again while it waited: it may have to wait on.
		if i, _ := slices.BinarySearch(sets, gone.Index); i < len(sets) && sets[i] < o.End() {
			continue
		}
		j.Violation(inOrder([]history.Event{*gone}, o.Events()), "%s waited at %s from %v on and had not passed %v after its removal at %v",
			o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, until-since, gone.Time)
		return
	}
}

// Double returns the checkers of a double barrier of n members: D1 to D5.
func Double(n int, inTime time.Duration) []Checker {
	return []Checker{D1(n), D2(n), D3(), D4(), D5(inTime)}
}

// round is one use of a double barrier.
type round struct {
	object         string
	number         int32
	enters, leaves []history.Operation
}

func rounds(h *history.History) []*round {
	type use struct {
		object string
		number int32
	}
	ops, _ := h.Operations()
	byUse := make(map[use]*round)
	var all []*round
	for _, o := range ops {
		if o.Invoke.Op != OpEnter && o.Invoke.Op != OpLeave {
			continue
		}
		at := use{o.Invoke.Object, o.Invoke.Round}
		r := byUse[at]
		if r == nil {
			r = &round{object: at.object, number: at.number}
			byUse[at] = r
			all = append(all, r)
		}
		if o.Invoke.Op == OpEnter {
			r.enters = append(r.enters, o)
		} else {
			r.leaves = append(r.leaves, o)
		}
	}
	slices.SortStableFunc(all, func(a, b *round) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.number, b.number))
	})
	return all
}

// firstIn is the operation that completed first, if any did.
func firstIn(ops []history.Operation) (first history.Operation, done bool) {
	for _, o := range ops {
		if o.Outcome() == history.OK && (!done || o.Complete.Index < first.Complete.Index) {
			first, done = o, true
		}
	}
	return first, done
}

// D1 judges entries: none completes before n members have begun to enter.
func D1(n int) Checker {
	return New("D1", "nobody enters before the last member has come", func(h *history.History, j *Judge) {
		for _, r := range rounds(h) {
			first, entered := firstIn(r.enters)
			if !entered {
				continue
			}
			j.Saw(1)
			came := 0
			for _, o := range r.enters {
				if o.Invoke.Index < first.Complete.Index {
					came++
				}
			}
			if came < n {
				j.Violation(first.Events(), "%s entered %s in round %d at %v, when %d of %d had come",
					first.Invoke.Who(), r.object, r.number, first.Complete.Time, came, n)
			}
		}
		j.Idle("nobody entered")
	})
}

// D2 judges entries: at some moment before the first completes, n members are in
// without having given up. A member whose enter failed counts until that was told.
func D2(n int) Checker {
	return New("D2", "a member that gave up lets nobody through", func(h *history.History, j *Judge) {
		for _, r := range rounds(h) {
			first, entered := firstIn(r.enters)
			if !entered {
				continue
			}
			j.Saw(1)
			if most := together(r.enters, first.Complete.Index); most < n && len(r.enters) >= n {
				j.Violation(first.Events(), "%s entered %s in round %d at %v, when no more than %d of %d had been there at once: the others had given up",
					first.Invoke.Who(), r.object, r.number, first.Complete.Time, most, n)
			}
		}
		j.Idle("nobody entered")
	})
}

// together is the largest number of members that may have been in at once before
// the index.
func together(enters []history.Operation, before int32) int {
	type step struct {
		at int32
		by int
	}
	var steps []step
	for _, o := range enters {
		steps = append(steps, step{o.Invoke.Index, 1})
		if o.Outcome() == history.Fail {
			steps = append(steps, step{o.Complete.Index, -1})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	most, now := 0, 0
	for _, s := range steps {
		if s.at > before {
			break
		}
		now += s.by
		most = max(most, now)
	}
	return most
}

// D3 judges departures: none completes before everybody who entered has begun to
// leave, or has lost its session or crashed.
func D3() Checker {
	return New("D3", "nobody leaves before all have finished", func(h *history.History, j *Judge) {
		dropped := drops(h)
		for _, r := range rounds(h) {
			first, left := firstIn(r.leaves)
			if !left {
				continue
			}
			j.Saw(1)
			leaving := make(map[int16]bool)
			for _, o := range r.leaves {
				if o.Invoke.Index < first.Complete.Index {
					leaving[o.Invoke.Client] = true
				}
			}
			for _, o := range r.enters {
				gone := between(dropped[o.Invoke.Client], o.Invoke.Index, first.Complete.Index)
				if o.Outcome() == history.OK && o.Complete.Index < first.Complete.Index && !leaving[o.Invoke.Client] && !gone {
					j.Violation(inOrder(o.Events(), first.Events()), "%s left %s in round %d at %v, when %s, in since %v, had not begun to",
						first.Invoke.Who(), r.object, r.number, first.Complete.Time, o.Invoke.Who(), o.Complete.Time)
				}
			}
		}
		j.Idle("nobody left")
	})
}

// drops lists, by client, when it lost its session or crashed.
func drops(h *history.History) map[int16][]int32 {
	all := make(map[int16][]int32)
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind == history.Crash || e.Kind == history.Session && (e.Op == history.SessionLost || e.Op == history.SessionClosed) {
			all[e.Client] = append(all[e.Client], e.Index)
		}
	}
	return all
}

// D4 judges rounds: nobody is in the next one while somebody is in the last.
func D4() Checker {
	return New("D4", "the next round begins after the last", func(h *history.History, j *Judge) {
		dropped := drops(h)
		var last *round
		for _, r := range rounds(h) {
			before := last
			last = r
			first, entered := firstIn(r.enters)
			if before == nil || before.object != r.object || !entered {
				continue
			}
			j.Saw(1)
			for _, o := range before.enters {
				if o.Outcome() != history.OK || o.Complete.Index > first.Complete.Index ||
					between(dropped[o.Invoke.Client], o.Invoke.Index, first.Complete.Index) {
					continue
				}
				if !slices.ContainsFunc(before.leaves, func(l history.Operation) bool {
					return l.Invoke.Client == o.Invoke.Client && l.Invoke.Index < first.Complete.Index
				}) {
					j.Violation(inOrder(o.Events(), first.Events()), "%s entered %s in round %d at %v, when %s, in round %d since %v, had not begun to leave",
						first.Invoke.Who(), r.object, r.number, first.Complete.Time, o.Invoke.Who(), before.number, o.Complete.Time)
				}
			}
		}
		j.Idle("there was no second round")
	})
}

// D5 judges liveness: after the heal everybody enters and leaves within inTime of
// the last member's coming.
func D5(inTime time.Duration) Checker {
	return New("D5", "after the heal rounds go on in time", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble was never healthy again")
			return
		}
		for _, r := range rounds(h) {
			for _, ops := range [][]history.Operation{r.enters, r.leaves} {
				inTimeTogether(h, j, r, ops, healed, inTime)
			}
		}
		j.Idle("nobody entered after the heal")
	})
}

// inTimeTogether judges one half of a round, once one member got through: then the
// condition was met for all.
func inTimeTogether(h *history.History, j *Judge, r *round, ops []history.Operation, healed *history.Event, inTime time.Duration) {
	first, done := firstIn(ops)
	if !done {
		return
	}
	for _, o := range ops {
		if o.End() < healed.Index {
			continue
		}
		j.Saw(1)
		until := h.End()
		if o.Complete != nil {
			until = o.Complete.Time
		}
		if since := max(healed.Time, first.Complete.Time, o.Invoke.Time); until-since > inTime {
			j.Violation(inOrder(first.Events(), o.Events()), "%s was not through its %s of %s in round %d %v after %s was, at %v",
				o.Invoke.Who(), o.Invoke.Op, r.object, r.number, until-since, first.Invoke.Who(), first.Complete.Time)
		}
	}
}
