package checker

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of groups. Object is the group; lists of members are ids in order,
// with spaces in between, each with an @ and what tells one incarnation from the
// other if need be. A client is one member at a time. OpLeave is its end.
const (
	OpJoin   = "join"   // Arg is the member's id
	OpUpdate = "update" // of the data of the member Arg
	// OpMembers asks who is there; it completes with the list in Result. Arg of
	// its invocation is Present if it must not be answered with an old state. It
	// is Settled if one who follows compares what it was told last, in Arg of the
	// completion, with what it is answered now.
	OpMembers = "members"
	// WatchMembers is the Op of a Watch event: one who follows was told the list in
	// Result, and what came and went since the first adds up to the one in Arg.
	WatchMembers = "members"
)

// Group returns the checkers of a group: group/members-listed, group/no-stranger-listed, group/changes-add-up, group/followers-converge. A member whose session ended is
// gone within inTime of that, or of the heal if that came later.
func Group(envelope Envelope, inTime time.Duration) []Checker {
	return []Checker{groupMembersListed(envelope), groupNoStrangerListed(inTime), groupChangesAddUp(), groupFollowersConverge()}
}

// A membership is one join and what followed, by indexes of events.
type membership struct {
	join  *history.Event
	told  int32 // from here on it is there, as far as is known
	until int32 // to here it is: nobody was going to end it, and its session is known to have lived
	left  int32 // from here on its end was under way
	over  int32 // from here on it is not
}

// memberships are those of each group, in order of their joins.
func memberships(h *history.History, inTime time.Duration) map[string][]*membership {
	all := make(map[string][]*membership)
	present := make(map[int16]*membership) // by client
	ops, _ := h.Operations()
	for _, o := range ops {
		m, ok := present[o.Invoke.Client], o.Outcome() == session.OK
		switch o.Invoke.Op {
		case OpJoin:
			if o.Outcome() == session.Failed {
				continue
			}
			m = &membership{join: o.Invoke, told: forever, left: forever, over: forever}
			if ok {
				m.told = o.Complete.Index
			}
			present[o.Invoke.Client] = m
			all[o.Invoke.Object] = append(all[o.Invoke.Object], m)
			continue
		case OpLeave:
			if m != nil {
				m.left = min(m.left, o.Invoke.Index)
				if ok && m.join.Session == o.Invoke.Session {
					m.over = min(m.over, o.Complete.Index)
				}
			}
			continue
		case OpMembers:
			ok = ok && o.Invoke.Arg == Present // any other answer may be that of a server cut off
		}
		if ok && m != nil && m.join.Session == o.Invoke.Session && m.left == forever {
			m.until = o.Invoke.Index
		}
	}
	ended := ends(h, inTime)
	for _, list := range all {
		for _, m := range list {
			if end, known := ended[m.join.Session]; known {
				m.over = min(m.over, end)
			}
		}
	}
	return all
}

// ends tells from when on nothing of a session may be left.
func ends(h *history.History, inTime time.Duration) map[int64]int32 {
	healed := h.PhaseStart(history.PhaseHealed)
	ended := make(map[int64]int32)
	for i := range h.Events {
		e := &h.Events[i]
		if healed == nil || e.Kind != history.Session || e.Op != history.SessionLost && e.Op != history.SessionClosed {
			continue
		}
		due := max(e.Time, healed.Time) + inTime
		ended[e.Session] = int32(sort.Search(len(h.Events), func(i int) bool { return h.Events[i].Time > due }))
	}
	return ended
}

// listings calls judge for each answer, with those who may have been there since
// it was asked for. Few are there at a time.
func listings(h *history.History, inTime time.Duration, judge func(o history.Operation, may []*membership)) {
	joins := memberships(h, inTime)
	may := make(map[string][]*membership)
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Invoke.Op != OpMembers || o.Outcome() != session.OK {
			continue
		}
		group := o.Invoke.Object
		for len(joins[group]) > 0 && joins[group][0].join.Index < o.Complete.Index {
			may[group], joins[group] = append(may[group], joins[group][0]), joins[group][1:]
		}
		may[group] = slices.DeleteFunc(may[group], func(m *membership) bool { return m.over <= o.Invoke.Index })
		judge(o, may[group])
	}
}

// idsIn are the ids of a list.
func idsIn(list string) []string {
	ids := strings.Fields(list)
	for i, id := range ids {
		ids[i], _, _ = strings.Cut(id, "@")
	}
	return ids
}

// groupMembersListed judges answers that must not be old: who was a member all the while is listed,
// unless that was outside of the envelope for a time.
func groupMembersListed(envelope Envelope) Checker {
	return New("group/members-listed", "a member is listed from its join to its leave", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		listings(h, 0, func(o history.Operation, may []*membership) {
			listed := idsIn(o.Complete.Result)
			for _, m := range may {
				if o.Invoke.Arg != Present || m.told > o.Invoke.Index || m.until < o.Complete.Index ||
					outside.meets(h.Events[m.told].Time, o.Complete.Time) {
					continue
				}
				j.Checked(1)
				if !slices.Contains(listed, m.join.Arg) {
					j.Violation(inOrder([]history.Event{*m.join, h.Events[m.told]}, o.Events()), "%s had joined %s as %s at %v and was no longer listed when %s asked at %v",
						m.join.Who(), m.join.Object, m.join.Arg, h.Events[m.told].Time, o.Invoke.Who(), o.Invoke.Time)
				}
			}
		})
		j.NotExercised("nobody asked who was there while there was a member")
	})
}

// groupNoStrangerListed judges all answers: who is listed had asked to join; and where they must not
// be old, had not left, nor lost its session for longer than inTime.
func groupNoStrangerListed(inTime time.Duration) Checker {
	return New("group/no-stranger-listed", "nobody is listed who did not join, or has left, or is long dead", func(h *history.History, j *Judge) {
		asked := make(map[string]bool) // group and id
		for i := range h.Events {
			switch e := &h.Events[i]; {
			case e.Kind == history.Invoke && e.Op == OpJoin:
				asked[e.Object+" "+e.Arg] = true
			case e.Kind == history.OK && e.Op == OpMembers, e.Kind == history.Watch && e.Op == WatchMembers:
				for _, id := range idsIn(e.Result) {
					j.Checked(1)
					if !asked[e.Object+" "+id] {
						j.Violation([]history.Event{*e}, "%s was told at %v that %s is in %s, who had not joined", e.Who(), e.Time, id, e.Object)
					}
				}
			}
		}
		listings(h, inTime, func(o history.Operation, may []*membership) {
			for _, id := range idsIn(o.Complete.Result) {
				is := func(m *membership) bool { return m.join.Arg == id }
				if o.Invoke.Arg == Present && asked[o.Invoke.Object+" "+id] && !slices.ContainsFunc(may, is) {
					j.Violation(o.Events(), "%s was listed in %s at %v, and had left, or lost its session more than %v ago", id, o.Invoke.Object, o.Complete.Time, inTime)
				}
			}
		})
		j.NotExercised("nobody was ever listed")
	})
}

// groupChangesAddUp judges what those who follow were told: the changes add up.
func groupChangesAddUp() Checker {
	return New("group/changes-add-up", "changes add up", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Watch || e.Op != WatchMembers {
				continue
			}
			j.Checked(1)
			if e.Arg != e.Result {
				j.Violation([]history.Event{*e}, "%s was told at %v that in %s are %q, and the changes add up to %q", e.Who(), e.Time, e.Object, e.Result, e.Arg)
			}
		}
		j.NotExercised("nobody was told of a change")
	})
}

// groupFollowersConverge judges those who follow: what they were told last is what is there in the end.
func groupFollowersConverge() Checker {
	return New("group/followers-converge", "who follows ends at those who are there", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op != OpMembers || o.Invoke.Arg != Settled || o.Outcome() != session.OK {
				continue
			}
			j.Checked(1)
			if told := o.Complete; told.Arg != told.Result {
				j.Violation(o.Events(), "%s had been told last that in %s are %q, and at %v there were still %q",
					told.Who(), told.Object, told.Arg, told.Time, told.Result)
			}
		}
		j.NotExercised("nobody who follows came to the end")
	})
}
