package checker

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of groups. Object is the group. A list of members has ids in order, separated by
// spaces. An id may be followed by an @ and the incarnation of the member, such as m1@10000000c. A
// client is one member of a group at a time. OpLeave ends its membership of the group.
const (
	OpJoin   = "join"   // Arg is the member's id
	OpUpdate = "update" // updates the data of the member Arg
	// OpMembers reads the members and completes with the list in Result. If Arg of the invocation
	// is Present, the answer must not be older than the invocation. If Arg is Settled, a follower
	// (a client that watches the group) compares two lists: Arg of the completion is the list of
	// its last notification, and Result is the list that it reads now.
	OpMembers = "members"
	// WatchMembers is the Op of a Watch event: a follower was notified of the list in Result. Arg
	// is the list that results from all changes of which the follower was notified so far. Arg and
	// Result must be the same list.
	WatchMembers = "members"
)

// Group returns the checkers of a group: group/members-listed, group/no-stranger-listed,
// group/changes-add-up and group/followers-converge. The argument inTime is the time limit for a
// member whose session ended: the member must disappear within inTime after the end of the session,
// or after the heal if the heal came later.
func Group(envelope Envelope, inTime time.Duration) []Checker {
	return []Checker{groupMembersListed(envelope), groupNoStrangerListed(inTime), groupChangesAddUp(), groupFollowersConverge()}
}

// A membership is one join of a client, together with the events that limit how long the client is
// a member. The integer fields are the indexes of these events in the history.
type membership struct {
	join  *history.Event
	told  int32 // the completion of the join; from here to `until` the member is surely present
	until int32 // the invocation of the last successful request in the session before `left`
	left  int32 // the invocation of the leave
	over  int32 // from here on the member is surely absent
}

// The function `memberships` lists the memberships of each group, in order of their joins.
func memberships(h *history.History, inTime time.Duration) map[string][]*membership {
	all := make(map[string][]*membership)
	present := make(map[int16]map[string]*membership) // client -> group -> its last membership
	ops, _ := h.Operations()
	for _, o := range ops {
		group, mine, ok := o.Invoke.Object, present[o.Invoke.Client], o.Outcome() == session.OK
		lives := ok // whether o proves that its session lived
		switch o.Invoke.Op {
		case OpJoin:
			if o.Outcome() == session.Failed {
				continue
			}
			m := &membership{join: o.Invoke, told: forever, left: forever, over: forever}
			if ok {
				m.told = o.Complete.Index
			}
			if mine == nil {
				mine = make(map[string]*membership)
				present[o.Invoke.Client] = mine
			}
			mine[group] = m
			all[group] = append(all[group], m)
		case OpLeave:
			if m := mine[group]; m != nil {
				m.left = min(m.left, o.Invoke.Index)
				if ok && m.join.Session == o.Invoke.Session {
					m.over = min(m.over, o.Complete.Index)
				}
			}
			continue
		case OpMembers:
			lives = ok && o.Invoke.Arg == Present // any other answer may come from an isolated server
		}
		for _, m := range mine {
			if lives && m.join.Session == o.Invoke.Session && m.left == forever {
				m.until = o.Invoke.Index
			}
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

// The function `ends` returns, for each session that has ended, the index from which on its members
// must be gone.
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

// The function `listings` calls the function `judge` for each answer to OpMembers. The argument
// `may` has the members that may have been present at some time during the call.
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

// idsIn returns the ids of the members in a list, without their incarnations.
func idsIn(list string) []string {
	ids := strings.Fields(list)
	for i, id := range ids {
		ids[i], _, _ = strings.Cut(id, "@")
	}
	return ids
}

// groupMembersListed judges answers that must not be old. It requires that such an answer lists
// every client that was a member during the whole call. A member is not judged if a fault outside
// the envelope affected all clients at some time between the member's join and the answer.
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
					j.Violation(inOrder([]history.Event{*m.join, h.Events[m.told]}, o.Events()), "%s had joined %s as %s at %v, but was not in the list that %s requested at %v",
						m.join.Who(), m.join.Object, m.join.Arg, h.Events[m.told].Time, o.Invoke.Who(), o.Invoke.Time)
				}
			}
		})
		j.NotExercised("no client listed the group while it had a member")
	})
}

// groupNoStrangerListed judges all lists of members. It requires that each listed member had
// invoked a join. If an answer must not be old, two more kinds of members must not be in its list:
//   - A member that left before the call.
//   - A member whose session ended more than inTime before the call. If the heal came after the end
//     of the session, inTime counts from the heal.
func groupNoStrangerListed(inTime time.Duration) Checker {
	return New("group/no-stranger-listed", "a list contains only members that have joined, have not left and are alive", func(h *history.History, j *Judge) {
		asked := make(map[string]bool) // by group and id
		for i := range h.Events {
			switch e := &h.Events[i]; {
			case e.Kind == history.Invoke && e.Op == OpJoin:
				asked[e.Object+" "+e.Arg] = true
			case e.Kind == history.OK && e.Op == OpMembers, e.Kind == history.Watch && e.Op == WatchMembers:
				for _, id := range idsIn(e.Result) {
					j.Checked(1)
					if !asked[e.Object+" "+id] {
						j.Violation([]history.Event{*e}, "%s was notified at %v that %s is in %s, but it had not joined", e.Who(), e.Time, id, e.Object)
					}
				}
			}
		}
		listings(h, inTime, func(o history.Operation, may []*membership) {
			for _, id := range idsIn(o.Complete.Result) {
				is := func(m *membership) bool { return m.join.Arg == id }
				if o.Invoke.Arg == Present && asked[o.Invoke.Object+" "+id] && !slices.ContainsFunc(may, is) {
					j.Violation(o.Events(), "%s was listed in %s at %v, but it had left, or had lost its session more than %v before", id, o.Invoke.Object, o.Complete.Time, inTime)
				}
			}
		})
		j.NotExercised("no member was ever listed")
	})
}

// groupChangesAddUp judges followers. It requires that the changes that were reported to a follower
// add up to the list that was reported to the follower.
func groupChangesAddUp() Checker {
	return New("group/changes-add-up", "the reported changes add up to the reported list", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Watch || e.Op != WatchMembers {
				continue
			}
			j.Checked(1)
			if e.Arg != e.Result {
				j.Violation([]history.Event{*e}, "%s was notified at %v that the members of %s are %q, but the changes add up to %q", e.Who(), e.Time, e.Object, e.Result, e.Arg)
			}
		}
		j.NotExercised("no follower was notified of a change")
	})
}

// groupFollowersConverge judges followers. It requires that the last list that was reported to a
// follower is the list that the follower reads at the end.
func groupFollowersConverge() Checker {
	return New("group/followers-converge", "each follower ends with the list of the present members", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op != OpMembers || o.Invoke.Arg != Settled || o.Outcome() != session.OK {
				continue
			}
			j.Checked(1)
			if told := o.Complete; told.Arg != told.Result {
				j.Violation(o.Events(), "%s was last notified that the members of %s are %q, but at %v they were %q",
					told.Who(), told.Object, told.Arg, told.Time, told.Result)
			}
		}
		j.NotExercised("no follower lived until the end")
	})
}
