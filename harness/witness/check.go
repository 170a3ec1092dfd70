package witness

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// resolution is the precision of times in the servers' logs.
const resolution = time.Millisecond

// Checkers returns the checkers that compare the history h with the log l. If a hold outlives its
// znode because of a fault that envelope.Outside names, this is not a violation: the time counts as
// exposure. [checker.Excuse.Explains] lists the other causes that count as exposure. A property
// about certain operations is judged only if h has such operations.
//
// All properties are optional: a run that does not exercise one can still pass. If l is nil or
// empty, because the ensemble has no logs, no property is exercised.
func (l *Log) Checkers(h *history.History, envelope checker.Envelope) []checker.Checker {
	var all []checker.Checker
	has := operationsOf(h)
	for _, p := range []struct {
		id, claim string
		check     func(*Log, *judging)
		of        []string // names of operations; nil means that the property is always judged
	}{
		{"witness/servers-agree", "no two servers have different transactions under one zxid", (*Log).serversAgree, nil},
		{"witness/grants-in-log", "each grant has a committed transaction of its own session", (*Log).grantsInLog, nil},
		{"witness/ended-before-deletion", "each hold had ended when the servers deleted its znode", (*Log).endedBeforeDeletion, nil},
		{"witness/predecessor-deleted", "each exclusive grant was given after the znode of each earlier holder was deleted", (*Log).predecessorDeleted, nil},
		{"witness/sessions-in-log", "each session of a client is in the log, and ended there if clients reported that the servers ended it", (*Log).sessionsInLog, nil},
		{"witness/items-in-log", "each put, take, claim, ack, release and reject of a queue has in the log the effect that its client reported", (*Log).itemsInLog, []string{checker.OpPut, checker.OpTake, checker.OpClaim}},
		{"witness/members-in-log", "each join and leave of a group has in the log the effect that its client reported, and each member that is listed is there", (*Log).membersInLog, []string{checker.OpJoin}},
		{"witness/counts-in-log", "each change of a counter has in the log the effect that its client reported, and each value that was read was there", (*Log).countsInLog, []string{checker.OpCompareAndSet, checker.OpGet}},
	} {
		if p.of != nil && !slices.ContainsFunc(p.of, func(op string) bool { return has[op] }) {
			continue
		}
		all = append(all, checker.IfExercised(checker.New(p.id, p.claim, func(h *history.History, j *checker.Judge) {
			if l == nil || len(l.Txns) == 0 {
				j.NotExercised("the ensemble has no transaction logs")
				return
			}
			lag := func(e history.Event) bool { return e.Kind == history.Fact && e.Op == history.FactLag }
			p.check(l, &judging{Judge: j, History: h, Excuse: envelope.In(h), real: slices.ContainsFunc(h.Events, lag)})
		})))
	}
	return all
}

// operationsOf returns the names of the operations that were invoked.
func operationsOf(h *history.History) map[string]bool {
	has := make(map[string]bool)
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Invoke {
			has[e.Op] = true
		}
	}
	return has
}

// A judging judges one property of one history.
type judging struct {
	*checker.Judge
	*history.History
	checker.Excuse
	real bool // the clock is real: the history records a lag, which a virtual clock does not have
}

// The method `at` returns the time of the history at which the leader's clock showed t.
func (j *judging) at(t time.Time) time.Duration { return t.Sub(j.Header.Start) }

// handOver is the longest delay that is accepted between the end of a hold and its record on a real
// clock. The recording goroutine may have to wait for the scheduler even if timers are not late. On
// a virtual clock there is no such delay.
const handOver = 5 * time.Millisecond

// The method `late` returns by how much an event of a client is too late, compared with an event at
// t in the log. It accepts three delays: the log rounds times down to milliseconds, a busy machine
// records events late (see [checker.Excuse.Lateness]), and on a real clock a record may be late by
// handOver.
func (j *judging) late(t, event time.Duration) time.Duration {
	late := event - t - resolution - j.Lateness(t, event)
	if j.real {
		late -= handOver
	}
	return max(0, late)
}

// The method `timeless` reports whether the times in the log mean nothing, because a fault changed
// the servers' clocks or timers.
func (j *judging) timeless() bool {
	if f := j.ClockFault(); f != "" {
		j.NotExercised("the fault %s changed a clock or the timers of a server", f)
		return true
	}
	return false
}

func (l *Log) serversAgree(j *judging) {
	j.Checked(l.Shared)
	for _, d := range l.Differ {
		j.Violation(nil, "zxid 0x%x is %s in the log of %s, and %s in that of %s",
			d.Zxid, j.describe(d.TA), d.A, j.describe(d.TB), d.B)
	}
	j.Note("%d transactions in the logs of %d servers; %d were written and not committed", len(l.Txns), l.servers, len(l.Refuted))
}

func (l *Log) grantsInLog(j *judging) {
	unknown := 0
	for _, hold := range j.Holds() {
		e := hold.Begin
		if e.Token == 0 {
			continue
		}
		t, committed := l.Txn(e.Token)
		if !committed && l.Gaps > 0 {
			unknown++
			continue
		}
		j.Checked(1)
		switch life := l.Life(e.Token, e.Node); {
		case slices.ContainsFunc(l.Refuted, func(t txn) bool { return t.Zxid == e.Token }):
			j.Violation([]history.Event{*e}, "%s was granted %s by transaction 0x%x, which was not committed", e.Who(), e.Object, e.Token)
		case !committed:
			j.Violation([]history.Event{*e}, "%s was granted %s with token 0x%x, but no server's log has that transaction", e.Who(), e.Object, e.Token)
		case life == nil:
			j.Violation([]history.Event{*e}, "%s was granted %s with token 0x%x (%v), but no transaction in the logs created %s",
				e.Who(), e.Object, e.Token, t.Op, cmp.Or(e.Node, "a znode"))
		case e.Session != 0 && (t.Session != e.Session || life.Session != e.Session):
			j.Violation([]history.Event{*e}, "%s was granted %s in session 0x%x, but transaction 0x%x is of session 0x%x, and %s is of session 0x%x",
				e.Who(), e.Object, uint64(e.Session), e.Token, uint64(t.Session), life.Path, uint64(life.Session))
		}
	}
	if unknown > 0 {
		j.Note("%d grants were not judged, because the logs have gaps", unknown)
	}
}

// endedBeforeDeletion requires that each hold had ended when the servers deleted the znode of the
// hold. This guarantee applies even if no other client waits for the object.
func (l *Log) endedBeforeDeletion(j *judging) {
	if j.timeless() {
		return
	}
	signs := lastSigns(j.History)
	for _, hold := range j.Holds() {
		life := l.Life(hold.Begin.Token, hold.Begin.Node)
		switch {
		case life == nil, life.Deleted == 0, life.WithParent:
			continue
		case hold.End != nil && hold.End.Kind == history.Crash:
			continue // a client that has crashed holds nothing
		}
		j.Checked(1)
		deleted, end := j.at(life.DeletedAt), j.End()
		if hold.End != nil {
			end = hold.End.Time
		}
		if sign, ok := signs[hold.Begin.Token]; ok {
			end = min(end, j.at(sign))
		}
		if late := j.late(deleted, end); late > 0 {
			if j.Explains(deleted, end, hold.Begin.Client) {
				j.Exposed(late)
				continue
			}
			j.Violation(hold.Events(), "%s held %s until %v, but the servers deleted %s at %v (transaction 0x%x, %s): %v too long",
				hold.Begin.Who(), hold.Begin.Object, end, life.Path, deleted, life.Deleted, life.reason(), late)
		}
	}
}

// lastSigns maps the token of a hold to the last sign of life of the program that ran under the
// hold.
func lastSigns(h *history.History) map[int64]time.Time {
	signs := make(map[int64]time.Time)
	for i := range h.Events {
		if e := &h.Events[i]; e.Kind == history.Fact && e.Op == history.FactLastSign {
			if at, err := time.Parse(time.RFC3339Nano, e.Result); err == nil {
				signs[e.Token] = at
			}
		}
	}
	return signs
}

// predecessorDeleted judges whether the znodes of all earlier holders had been deleted before each
// grant. It does not use the recorded ends of earlier holds, because the clients may have crashed.
func (l *Log) predecessorDeleted(j *judging) {
	if j.timeless() {
		return
	}
	earlier := make(map[string][]history.HoldInterval)
	for _, hold := range j.Holds() {
		e := hold.Begin
		life := l.Life(e.Token, e.Node)
		if life == nil {
			continue
		}
		judged := earlier[e.Object]
		if e.Arg != "" && e.Arg != checker.ModeWrite {
			judged = nil // readers and permits are not exclusive
		}
		for _, before := range judged {
			predecessor := l.Life(before.Begin.Token, before.Begin.Node)
			if predecessor == life || predecessor.Created > life.Created {
				continue
			}
			if predecessor.Deleted == 0 && l.Gaps > 0 {
				continue // the deletion may be in a gap
			}
			j.Checked(1)
			deleted := j.End()
			if predecessor.Deleted != 0 {
				deleted = j.at(predecessor.DeletedAt)
			}
			switch {
			case predecessor.Deleted != 0 && deleted <= e.Time:
			case j.Explains(e.Time, deleted, before.Begin.Client):
				j.Exposed(deleted - e.Time)
			default:
				when := "never deleted"
				if predecessor.Deleted != 0 {
					when = fmt.Sprintf("deleted %v later", deleted-e.Time)
				}
				j.Violation([]history.Event{*before.Begin, *e}, "%s was granted %s, but %s of %s was %s",
					e.Who(), e.Object, predecessor.Path, before.Begin.Who(), when)
			}
		}
		earlier[e.Object] = append(earlier[e.Object], hold)
	}
}

func (l *Log) sessionsInLog(j *judging) {
	for i := range j.Events {
		e := &j.Events[i]
		if e.Kind != history.Session || e.Session == 0 {
			continue
		}
		_, began := l.began[e.Session]
		_, ended := l.ended[e.Session]
		switch {
		case !began && l.Gaps > 0:
		case e.Op == history.SessionNew:
			j.Checked(1)
			if !began {
				j.Violation([]history.Event{*e}, "%s opened session 0x%x, but no server's log has it", e.Who(), uint64(e.Session))
			}
		case !ended && l.Gaps > 0: // the end may be in a gap
		case e.Op == history.SessionExpired:
			j.Checked(1)
			if !ended {
				j.Violation([]history.Event{*e}, "session 0x%x of %s was reported as expired, but no server's log ends it", uint64(e.Session), e.Who())
			}
		}
	}
}

// The method `reason` returns why a znode was deleted.
func (l *Life) reason() string {
	if l.Closed {
		return fmt.Sprintf("session 0x%x ended", uint64(l.DeletedBy))
	}
	return fmt.Sprintf("by session 0x%x", uint64(l.DeletedBy))
}

// The method `describe` describes a transaction with its session and time.
func (j *judging) describe(t txn) string {
	text := t.Op.String()
	for _, c := range t.Changes {
		text += " " + path.Base(c.Path)
	}
	if t.Err != wire.OK {
		text += " (refused: " + t.Err.String() + ")"
	}
	return fmt.Sprintf("%s of session 0x%x at %v", text, t.Session, j.at(time.UnixMilli(t.Time)))
}
