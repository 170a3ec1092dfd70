package checker

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations on ephemeral znodes. Each event has the session in which it happened.
const (
	OpEphemeral = "ephemeral" // creates Object, owned by the session of the completion
	// OpPresent reads whether Object exists. Result is the owner as 0x..., or empty if the znode
	// does not exist. Node is the server. Arg of the invocation is "sync" if the read came after a
	// sync.
	OpPresent = "present"
	// OpDelete deletes Object.
	OpDelete = "delete"
	// OpResume tries to resume the session in Arg, as 0x..., and succeeds if a server accepts it.
	OpResume = "resume"
)

// Sessions returns the checkers of ZooKeeper's sessions: session/ephemerals-stay,
// session/ephemerals-go, session/expired-for-good and session/expiry-in-time. After the end of a
// session, a server is allowed to show an ephemeral of the session for the duration `lag`, but not
// in a read after a sync. A session is allowed to expire later than its timeout by at most the
// duration `slack`.
//
// If a client calls Close, the request to the servers may take long to arrive, or may never be
// sent. So if the client has called Close, and the end of the session has not been observed at the
// ensemble, the session counts as ended when its timeout plus `slack` has passed since the call.
func Sessions(lag, slack time.Duration) []Checker {
	return []Checker{sessionEphemeralsStay(), sessionEphemeralsGo(lag, slack), sessionExpiredForGood(slack), sessionExpiryInTime(slack)}
}

// The type `lives` has everything that a history shows about one session.
type lives struct {
	timeout time.Duration
	answer  *history.Operation // the last operation in the session that succeeded and needed a quorum
	touched *history.Event     // the last event before `ended`: the start of the session, a connection, or an event of an operation
	asking  bool               // an operation was open when the session ended
	ended   *history.Event     // the first end of the session that was observed at the ensemble
	closed  *history.Event     // recorded when its client called Close, if that was before `ended`
}

func sessions(h *history.History) map[int64]*lives {
	all := make(map[int64]*lives)
	of := func(id int64) *lives {
		if all[id] == nil {
			all[id] = &lives{}
		}
		return all[id]
	}
	for i := range h.Events {
		e := &h.Events[i]
		if e.Session == 0 {
			continue
		}
		l := of(e.Session)
		if l.ended != nil {
			continue
		}
		switch {
		case e.Kind == history.Session && e.Op == history.SessionNew:
			l.timeout, _ = time.ParseDuration(e.Arg)
			l.touched = e
		case e.Kind == history.Session && e.Op == history.SessionExpired:
			l.ended = e
		case e.Kind == history.Session && e.Op == history.SessionClosed:
			l.closed = e
		case e.Kind == history.Session && e.Op == history.SessionConnected, e.Kind == history.Invoke, e.Kind.Completion():
			l.touched = e
		}
	}
	ops, _ := h.Operations()
	for i, o := range ops {
		if l := all[o.Invoke.Session]; l != nil && l.ended != nil && o.Invoke.Index < l.ended.Index && (o.Complete == nil || o.Complete.Index > l.ended.Index) {
			l.asking = true
		}
		if o.Outcome() != session.OK || o.Complete.Session == 0 || !byQuorum(o) {
			continue
		}
		l := of(o.Complete.Session)
		if l.answer == nil || l.answer.Invoke.Index < o.Invoke.Index {
			l.answer = &ops[i]
		}
	}
	return all
}

// The method `over` returns the event that ended the session, and the time at which the servers had
// surely ended it. If the session had not surely ended before the invocation of o, the event is
// nil. If only the client's call of Close is known, the session counts as ended when its timeout
// plus `slack` has passed since the call, because the servers may never receive the request. The
// argument l may be nil.
func (l *lives) over(o history.Operation, slack time.Duration) (end *history.Event, at time.Duration) {
	if l == nil {
		return nil, 0
	}
	if l.ended != nil && l.ended.Index < o.Invoke.Index {
		return l.ended, l.ended.Time
	}
	if l.closed != nil && l.timeout > 0 && o.Invoke.Time > l.closed.Time+l.timeout+slack {
		return l.closed, l.closed.Time + l.timeout + slack
	}
	return nil, 0
}

// byQuorum reports whether the success of an operation proves that a quorum knew the session of the
// operation. A plain read proves nothing: an isolated server answers even after the other servers
// have expired the session.
func byQuorum(o history.Operation) bool {
	return o.Invoke.Op == OpEphemeral || o.Invoke.Op == OpDelete || mutates(o.Invoke.Op) || o.Invoke.Arg == "sync"
}

// sessionEphemeralsStay judges reads after a sync. It requires that an ephemeral that was created
// exists while its session lives, unless a delete may have taken effect after the creation and
// before the end of the read. The session surely lived during the read if an operation in the
// session was invoked after the read, needed a quorum, and succeeded.
func sessionEphemeralsStay() Checker {
	return New("session/ephemerals-stay", "an ephemeral znode exists while its session is alive", func(h *history.History, j *Judge) {
		all := sessions(h)
		ops, _ := h.Operations()
		created, deleted := make(map[string][]history.Operation), make(map[string][]history.Operation) // by path
		for _, o := range ops {
			switch path := o.Invoke.Object; {
			case o.Invoke.Op == OpEphemeral && o.Outcome() == session.OK:
				created[path] = append(created[path], o)
			case o.Invoke.Op == OpDelete && o.Outcome() != session.Failed:
				deleted[path] = append(deleted[path], o)
			}
		}
		for _, o := range ops {
			if o.Invoke.Op != OpPresent || o.Outcome() != session.OK || o.Invoke.Arg != "sync" {
				continue
			}
			for _, made := range created[o.Invoke.Object] {
				gone := slices.ContainsFunc(deleted[o.Invoke.Object], func(d history.Operation) bool {
					return d.Invoke.Index < o.Complete.Index && d.End() > made.Invoke.Index
				})
				id := made.Complete.Session
				if gone || made.Complete.Index > o.Invoke.Index || all[id] == nil {
					continue
				}
				later := all[id].answer
				if later == nil || later.Invoke.Index < o.Complete.Index {
					continue // the session may have ended by then
				}
				j.Checked(1)
				if hexID(o.Complete.Result) != id {
					j.Violation(inOrder(made.Events(), o.Events(), later.Events()), "%s did not see %s of session 0x%x at %v, but that session was still served at %v",
						o.Invoke.Who(), o.Invoke.Object, uint64(id), o.Complete.Time, later.Complete.Time)
				}
			}
		}
		j.NotExercised("no client read an ephemeral of a session that lived on")
	})
}

// sessionEphemeralsGo judges reads after the end of a session. A server is allowed to show an
// ephemeral of the session for the duration `lag`. But a read after a sync must not find the
// ephemeral at all. If only the client's call of Close is known, the session counts as ended when
// its timeout plus `slack` has passed since the call.
func sessionEphemeralsGo(lag, slack time.Duration) Checker {
	return New("session/ephemerals-go", "the ephemeral znodes of an ended session disappear on every server", func(h *history.History, j *Judge) {
		all := sessions(h)
		ops, _ := h.Operations()
		owner := make(map[string]int64)
		for _, o := range ops {
			if o.Invoke.Op == OpEphemeral && o.Outcome() == session.OK {
				owner[o.Invoke.Object] = o.Complete.Session
			}
			if o.Invoke.Op != OpPresent || o.Outcome() != session.OK {
				continue
			}
			end, at := all[hexID(o.Complete.Result)].over(o, slack)
			if end == nil {
				end, at = all[owner[o.Invoke.Object]].over(o, slack)
			}
			if end == nil || o.Invoke.Arg != "sync" && o.Invoke.Time-at < lag {
				continue
			}
			j.Checked(1)
			if hexID(o.Complete.Result) == end.Session {
				j.Violation(inOrder([]history.Event{*end}, o.Events()), "%s saw %s on server %s at %v, %v after the end of its session 0x%x",
					o.Invoke.Who(), o.Invoke.Object, o.Complete.Node, o.Complete.Time, o.Invoke.Time-end.Time, uint64(end.Session))
			}
		}
		j.NotExercised("no client read an ephemeral of an ended session")
	})
}

// sessionExpiredForGood judges attempts to resume a session. It requires that no server accepts a
// session that has ended. If only the client's call of Close is known, the session counts as ended
// when its timeout plus `slack` has passed since the call.
func sessionExpiredForGood(slack time.Duration) Checker {
	return New("session/expired-for-good", "no server accepts an expired session again", func(h *history.History, j *Judge) {
		all := sessions(h)
		ops, _ := h.Operations()
		for _, o := range ops {
			end, _ := all[hexID(o.Invoke.Arg)].over(o, slack)
			if o.Invoke.Op != OpResume || end == nil || o.Outcome() == session.Indeterminate {
				continue
			}
			j.Checked(1)
			if o.Outcome() == session.OK {
				j.Violation(inOrder([]history.Event{*end}, o.Events()), "%s resumed session %s at %v, which had ended at %v",
					o.Invoke.Who(), o.Invoke.Arg, o.Complete.Time, end.Time)
			}
		}
		j.NotExercised("no client tried to resume an ended session")
	})
}

func hexID(s string) int64 {
	id, _ := history.ParseID(s)
	return id
}

// sessionExpiryInTime judges when a session expires. It requires:
//   - The session does not expire too early: at least the session timeout has passed since the
//     invocation of the last request that needed a quorum and succeeded in the session. Such a
//     request is a write, or a read after a sync.
//   - The session does not expire too late: at most the timeout plus `slack` has passed since the
//     last event of the session. This is not judged if a request was still open. Events are the
//     start of the session, a connection, and the invocation or completion of a request.
//
// Pings keep a session alive and are no events. So a workload for session/expiry-in-time must send
// requests all the time. A session that its own client or another one closed is not judged.
func sessionExpiryInTime(slack time.Duration) Checker {
	return New("session/expiry-in-time", "a session expires after its timeout, and not much later", func(h *history.History, j *Judge) {
		for id, l := range sorted(sessions(h)) {
			if l.ended == nil || l.closed != nil || l.timeout == 0 || l.ended.Arg == "closed" {
				continue
			}
			j.Checked(1)
			if l.answer != nil && l.ended.Time-l.answer.Invoke.Time < l.timeout {
				j.Violation(inOrder(l.answer.Events(), []history.Event{*l.ended}), "session 0x%x with a timeout of %v expired at %v, %v after a request of it that succeeded",
					uint64(id), l.timeout, l.ended.Time, l.ended.Time-l.answer.Invoke.Time)
			}
			if l.touched != nil && !l.asking && l.ended.Time-l.touched.Time > l.timeout+slack {
				j.Violation([]history.Event{*l.touched, *l.ended}, "session 0x%x with a timeout of %v expired at %v, %v after its last event",
					uint64(id), l.timeout, l.ended.Time, l.ended.Time-l.touched.Time)
			}
		}
		j.NotExercised("no session expired")
	})
}
