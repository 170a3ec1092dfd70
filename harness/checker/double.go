package checker

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Double returns the checkers of a double barrier of n members: double-barrier/enter-together,
// double-barrier/no-quitter-counts, double-barrier/leave-together, double-barrier/rounds-in-order
// and double-barrier/rounds-go-on.
func Double(n int, inTime time.Duration) []Checker {
	return []Checker{doubleBarrierEnterTogether(n), doubleBarrierNoQuitterCounts(n), doubleBarrierLeaveTogether(), doubleBarrierRoundsInOrder(), doubleBarrierRoundsGoOn(inTime)}
}

// A round is one use of a double barrier.
type round struct {
	object         string
	number         int32
	enters, leaves []history.Operation
	// strays are the enters whose round is not known: the invocation has no round, and the call did
	// not succeed. All rounds of an object share one list.
	strays *strays
}

// The function `rounds` lists the rounds in order. If a client does not know its round when it
// invokes an operation, Round of the invocation is 0, and only the completion has the round.
func rounds(h *history.History) []*round {
	type use struct {
		object string
		number int32
	}
	ops, _ := h.Operations()
	unnumbered := make(map[string]*strays)
	for _, o := range ops {
		if o.Invoke.Op == OpEnter && o.Invoke.Round == 0 && o.Outcome() == session.OK && o.Complete.Round != 0 {
			unnumbered[o.Invoke.Object] = new(strays)
		}
	}
	var ends func(history.Operation) int32
	if len(unnumbered) > 0 {
		ends = strayEnds(h, ops)
	}
	byUse := make(map[use]*round)
	var all []*round
	for _, o := range ops {
		if o.Invoke.Op != OpEnter && o.Invoke.Op != OpLeave {
			continue
		}
		at := use{o.Invoke.Object, o.Invoke.Round}
		if o.Outcome() == session.OK {
			at.number = max(at.number, o.Complete.Round)
		}
		s := unnumbered[at.object]
		if s != nil && at.number == 0 {
			if o.Invoke.Op == OpEnter {
				*s = append(*s, stray{Operation: o, end: ends(o)})
			}
			continue
		}
		r := byUse[at]
		if r == nil {
			r = &round{object: at.object, number: at.number, strays: s}
			byUse[at] = r
			all = append(all, r)
		}
		if o.Invoke.Op == OpEnter {
			r.enters = append(r.enters, o)
		} else {
			r.leaves = append(r.leaves, o)
		}
	}
	for _, s := range unnumbered {
		slices.SortStableFunc(*s, func(a, b stray) int { return cmp.Compare(a.end, b.end) })
	}
	slices.SortStableFunc(all, func(a, b *round) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.number, b.number))
	})
	return all
}

// The type `strays` has those calls of OpEnter on one object whose rounds are not known, sorted by
// the field `end`. The client of each call may have been a member of one round.
type strays []stray

type stray struct {
	history.Operation
	end  int32 // a round may count the stray up to this index
	used bool
}

// strayEnds returns a function that gives the index until which a stray may count as a member. A
// stray no longer counts after the first of these events:
//   - Its call failed.
//   - The servers ended its session.
//   - The same session entered the same barrier again, because the earlier attempt must be gone by
//     then.
func strayEnds(h *history.History, ops []history.Operation) func(history.Operation) int32 {
	expired := make(map[int64]int32)
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Session && e.Op == history.SessionExpired && e.Session != 0 {
			expired[e.Session] = e.Index
		}
	}
	type user struct {
		session int64
		object  string
	}
	again := make(map[user][]history.Operation)
	for _, o := range ops {
		if o.Invoke.Op == OpEnter && o.Outcome() == session.OK && o.Invoke.Session != 0 {
			u := user{o.Invoke.Session, o.Invoke.Object}
			again[u] = append(again[u], o)
		}
	}
	return func(o history.Operation) int32 {
		end := int32(math.MaxInt32)
		if at, over := expired[o.Invoke.Session]; over {
			end = at
		}
		if o.Complete == nil {
			return end
		}
		if o.Complete.Kind == history.Fail {
			end = min(end, o.Complete.Index)
		}
		later := again[user{o.Invoke.Session, o.Invoke.Object}]
		i, _ := slices.BinarySearchFunc(later, o.Complete.Index, func(next history.Operation, at int32) int { return cmp.Compare(next.Invoke.Index, at) })
		if i < len(later) {
			end = min(end, later[i].Complete.Index)
		}
		return end
	}
}

// The method `borrow` finds up to n strays that may have been members of r when r opened. It marks
// these strays as used and returns their number. It uses the strays with the smallest `end` first,
// because they fit the fewest later rounds. A stray does not count if its session also entered r.
// This rule ignores the enters of r whose sessions were not recorded.
func (r *round) borrow(n int, opened int32) (taken int) {
	if r.strays == nil || n <= 0 {
		return 0
	}
	last, sessions := int32(0), make(map[int64]bool)
	for _, o := range r.enters {
		last = max(last, o.Invoke.Index)
		sessions[o.Invoke.Session] = o.Invoke.Session != 0
	}
	all := *r.strays
	i, _ := slices.BinarySearchFunc(all, last+1, func(s stray, at int32) int { return cmp.Compare(s.end, at) })
	for ; i < len(all) && taken < n; i++ {
		if s := &all[i]; !s.used && s.Invoke.Index < opened && !sessions[s.Invoke.Session] {
			s.used = true
			taken++
		}
	}
	return taken
}

// firstIn returns the successful operation that completed first, if any succeeded.
func firstIn(ops []history.Operation) (first history.Operation, done bool) {
	for _, o := range ops {
		if o.Outcome() == session.OK && (!done || o.Complete.Index < first.Complete.Index) {
			first, done = o, true
		}
	}
	return first, done
}

// doubleBarrierEnterTogether judges entries: none completes before n members have begun to enter.
func doubleBarrierEnterTogether(n int) Checker {
	return New("double-barrier/enter-together", "no member enters before the last one has come", func(h *history.History, j *Judge) {
		for _, r := range rounds(h) {
			first, entered := firstIn(r.enters)
			if !entered {
				continue
			}
			j.Checked(1)
			came := 0
			for _, o := range r.enters {
				if o.Invoke.Index < first.Complete.Index {
					came++
				}
			}
			if came += r.borrow(n-came, first.Complete.Index); came < n {
				j.Violation(first.Events(), "%s entered %s in round %d at %v, when only %d of %d members had come",
					first.Invoke.Who(), r.object, r.number, first.Complete.Time, came, n)
			}
		}
		j.NotExercised("no member entered")
	})
}

// doubleBarrierNoQuitterCounts judges entries. It requires that n members are inside at the same
// moment before the first entry completes. Here a member counts as inside from the invocation of
// its enter on. If the enter fails, the member counts until the failure is reported.
func doubleBarrierNoQuitterCounts(n int) Checker {
	return New("double-barrier/no-quitter-counts", "a member that gave up does not count", func(h *history.History, j *Judge) {
		for _, r := range rounds(h) {
			first, entered := firstIn(r.enters)
			if !entered {
				continue
			}
			j.Checked(1)
			most := together(r.enters, first.Complete.Index)
			if most += r.borrow(n-most, first.Complete.Index); most < n && len(r.enters) >= n {
				j.Violation(first.Events(), "%s entered %s in round %d at %v, when at most %d of %d members had been inside at once: the others had given up",
					first.Invoke.Who(), r.object, r.number, first.Complete.Time, most, n)
			}
		}
		j.NotExercised("no member entered")
	})
}

// The function `together` returns the largest number of members that may have been inside at the
// same moment, up to the index `before`.
func together(enters []history.Operation, before int32) int {
	type step struct {
		at int32
		by int
	}
	var steps []step
	for _, o := range enters {
		steps = append(steps, step{o.Invoke.Index, 1})
		if o.Outcome() == session.Failed {
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

// doubleBarrierLeaveTogether judges departures: none completes while a member is surely inside.
func doubleBarrierLeaveTogether() Checker {
	return New("double-barrier/leave-together", "no member leaves before all have finished", func(h *history.History, j *Judge) {
		dropped := dropsOf(h)
		for _, r := range rounds(h) {
			inside := r.stays(dropped)
			for _, o := range r.leaves {
				if o.Outcome() != session.OK {
					continue
				}
				j.Checked(1)
				if in, any := inside.at(o.Complete.Index); any {
					j.Violation(inOrder(in.enter.Events(), o.Events()), "%s left %s in round %d at %v, but %s was inside since %v and had not begun to leave",
						o.Invoke.Who(), r.object, r.number, o.Complete.Time, in.enter.Invoke.Who(), in.enter.Complete.Time)
				}
			}
		}
		j.NotExercised("no member left")
	})
}

// A stay is a time that a member surely spent inside. It begins when the enter returns. It ends
// when the member begins to leave, loses or closes its session, or crashes. But the servers may end
// the session before the member notices, and only an operation that succeeds proves that the
// session still lived when the operation was invoked. So a stay ends no later than the invocation
// of the session's last operation that succeeded.
type stay struct {
	enter history.Operation
	to    int32
}

// The type `stays` has the stays of a round, sorted by their beginnings. If a stay ends before the
// previous stay in the list ends, the list has the previous stay a second time in place of the
// shorter one. The previous stay contains the shorter one, so no time is left out. Thus the ends
// are sorted too.
type stays []stay

func (r *round) stays(dropped drops) stays {
	leaves := make(map[int16][]int32)
	for _, o := range r.leaves {
		leaves[o.Invoke.Client] = append(leaves[o.Invoke.Client], o.Invoke.Index)
	}
	var all stays
	for _, o := range r.enters {
		if o.Outcome() == session.OK {
			from := o.Invoke.Index
			all = append(all, stay{o, min(firstAfter(leaves[o.Invoke.Client], from), dropped.after(o))})
		}
	}
	slices.SortFunc(all, func(a, b stay) int { return cmp.Compare(a.enter.Complete.Index, b.enter.Complete.Index) })
	for i := 1; i < len(all); i++ {
		if all[i-1].to > all[i].to {
			all[i] = all[i-1]
		}
	}
	return all
}

// firstAfter returns the first of the sorted indexes that is greater than `from`.
func firstAfter(indexes []int32, from int32) int32 {
	i, _ := slices.BinarySearch(indexes, from+1)
	if i == len(indexes) {
		return forever
	}
	return indexes[i]
}

// The method `at` returns a stay that contains the event with the given index, if there is one.
func (all stays) at(index int32) (stay, bool) {
	i, _ := slices.BinarySearchFunc(all, index, func(s stay, at int32) int { return cmp.Compare(s.enter.Complete.Index, at) })
	// The ends are sorted, see the type `stays`. So only the last stay that began before the index
	// must be checked.
	if i > 0 && all[i-1].to > index {
		return all[i-1], true
	}
	return stay{}, false
}

// The type `drops` has the indexes of events that limit how long a session surely lived.
type drops struct {
	told   map[int16][]int32 // client -> the events in which it lost or closed its session, or crashed
	proven map[int64]int32   // session -> the invocation of the last operation that succeeded in it
}

func dropsOf(h *history.History) drops {
	all := drops{make(map[int16][]int32), make(map[int64]int32)}
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind == history.Crash || e.Kind == history.Session && (e.Op == history.SessionLost || e.Op == history.SessionClosed) {
			all.told[e.Client] = append(all.told[e.Client], e.Index)
		}
	}
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Outcome() == session.OK && o.Invoke.Session != 0 {
			all.proven[o.Invoke.Session] = o.Invoke.Index
		}
	}
	return all
}

// The method `after` returns the index until which the session of o surely lived after o began.
func (d drops) after(o history.Operation) int32 {
	end := firstAfter(d.told[o.Invoke.Client], o.Invoke.Index)
	if proven, known := d.proven[o.Invoke.Session]; known {
		end = min(end, proven)
	}
	return end
}

// doubleBarrierRoundsInOrder judges rounds. It requires that no member enters a round while another
// member is surely inside the previous round.
func doubleBarrierRoundsInOrder() Checker {
	return New("double-barrier/rounds-in-order", "a round begins only after the previous one has ended", func(h *history.History, j *Judge) {
		dropped := dropsOf(h)
		var last *round
		for _, r := range rounds(h) {
			before := last
			last = r
			if before == nil || before.object != r.object {
				continue
			}
			inside := before.stays(dropped)
			for _, o := range r.enters {
				if o.Outcome() != session.OK {
					continue
				}
				j.Checked(1)
				if in, any := inside.at(o.Complete.Index); any {
					j.Violation(inOrder(in.enter.Events(), o.Events()), "%s entered %s in round %d at %v, but %s was in round %d since %v and had not begun to leave",
						o.Invoke.Who(), r.object, r.number, o.Complete.Time, in.enter.Invoke.Who(), before.number, in.enter.Complete.Time)
				}
			}
		}
		j.NotExercised("there was no second round")
	})
}

// doubleBarrierRoundsGoOn judges liveness after the heal. It has three rules:
//   - Once the first member has entered a round, the other members enter within inTime.
//   - Once the first member has left a round, the other members leave within inTime.
//   - If some clients learned the round of a barrier only when their enter completed, a round of
//     this barrier must open after the heal. This rule applies only if the work continued for
//     longer than inTime after the heal.
//
// The first two rules do not judge an enter whose round is not known. The third rule exists for
// such enters.
func doubleBarrierRoundsGoOn(inTime time.Duration) Checker {
	return New("double-barrier/rounds-go-on", "after the heal rounds complete in time", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble did not recover")
			return
		}
		busy := busyTimes(h)
		opened := make(map[string]bool) // object -> whether a round opened after the heal
		for _, r := range rounds(h) {
			for _, ops := range [][]history.Operation{r.enters, r.leaves} {
				inTimeTogether(h, j, r, ops, healed, busy, inTime)
			}
			if first, entered := firstIn(r.enters); entered && first.Complete.Index > healed.Index {
				opened[r.object] = true
			} else if r.strays != nil {
				opened[r.object] = opened[r.object] || false
			}
		}
		quiesce := h.PhaseStart(history.PhaseQuiesce)
		for object, any := range sorted(opened) {
			if !any && quiesce != nil && busy.overdue(j, "a round of "+object, healed.Time, quiesce.Time, inTime) {
				j.Violation([]history.Event{*healed, *quiesce}, "no round of %s opened in the %v after the heal", object, quiesce.Time-healed.Time)
			}
		}
		j.NotExercised("no member entered after the heal")
	})
}

// inTimeTogether judges the enters or the leaves of a round. Once the first of these operations has
// completed, nothing blocks the others, so they must complete within inTime.
func inTimeTogether(h *history.History, j *Judge, r *round, ops []history.Operation, healed *history.Event, busy loaded, inTime time.Duration) {
	first, done := firstIn(ops)
	if !done {
		return
	}
	for _, o := range ops {
		if endedBefore(o, healed) {
			continue
		}
		j.Checked(1)
		until := h.End()
		if o.Complete != nil {
			until = o.Complete.Time
		}
		since := max(healed.Time, first.Complete.Time, o.Invoke.Time)
		if busy.overdue(j, o.Invoke.Who()+"'s "+o.Invoke.Op+" of "+r.object, since, until, inTime) {
			j.Violation(inOrder(first.Events(), o.Events()), "%s had not completed its %s of %s in round %d %v after %s had, at %v",
				o.Invoke.Who(), o.Invoke.Op, r.object, r.number, until-since, first.Invoke.Who(), first.Complete.Time)
		}
	}
}
