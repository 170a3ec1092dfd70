package checker

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of locks. OpAcquire completes with the Token of the grant, and with the client's own
// znode in Node. The invocation of OpRelease has the Token of the hold.
const (
	OpAcquire = "acquire"
	OpRelease = "release"
	// OpVerify reads the contenders. The same session writes before the read, so that the answer is
	// no older than the invocation. The invocation has the Token and the client's own Node. The
	// completion has the znode of the first contender in Result, and the owner of that znode in
	// Session.
	OpVerify = "verify"
)

// Mutex returns the checkers of a mutual exclusion lock that every run can exercise:
// lock/tokens-rise, lock/fenced-writes, lock/no-overlap, client/nothing-left and
// client/waiters-served.
func Mutex(envelope Envelope, inTime time.Duration) []Checker {
	return []Checker{LockTokensRise(), LockFencedWrites(), LockNoOverlap(envelope), NothingLeft("znodes", "goroutines"), WaitersServed(OpAcquire, inTime)}
}

// LockTokensRise judges the tokens of grants. It requires that the tokens are unique and rise in
// real time: if one acquire completed before another was invoked, the later acquire has the higher
// token.
func LockTokensRise() Checker {
	return New("lock/tokens-rise", "tokens are unique and rise in real time", func(h *history.History, j *Judge) {
		tokens(h, j, OpAcquire)
	})
}

// The function `tokens` judges the tokens of the completed operations with the name `op`, for each
// object.
func tokens(h *history.History, j *Judge, op string) {
	ops, _ := h.Operations()
	type line struct {
		highest *history.Event
		seen    map[int64]*history.Event
	}
	lines := make(map[string]*line)
	floor := make(map[int32]*history.Event) // index of an invocation -> the highest grant before it
	completed := make(map[int32]int32)      // index of a completion -> index of its invocation
	for _, o := range ops {
		if o.Invoke.Op == op && o.Outcome() == session.OK {
			completed[o.Complete.Index] = o.Invoke.Index
		}
	}
	for i := range h.Events {
		e := &h.Events[i]
		if e.Op != op || e.Kind != history.Invoke && e.Kind != history.OK {
			continue
		}
		l := lines[e.Object]
		if l == nil {
			l = &line{seen: make(map[int64]*history.Event)}
			lines[e.Object] = l
		}
		if e.Kind == history.Invoke {
			floor[e.Index] = l.highest
			continue
		}
		j.Checked(1)
		before := floor[completed[e.Index]]
		delete(floor, completed[e.Index])
		switch twin := l.seen[e.Token]; {
		case e.Token == 0:
			j.Violation([]history.Event{*e}, "%s was granted %s at %v without a token", e.Who(), e.Object, e.Time)
		case twin != nil:
			j.Violation([]history.Event{*twin, *e}, "token 0x%x of %s was granted twice: to %s at %v and to %s at %v",
				e.Token, e.Object, twin.Who(), twin.Time, e.Who(), e.Time)
		case before != nil && before.Token > e.Token:
			asked := h.Events[completed[e.Index]]
			j.Violation([]history.Event{*before, asked, *e},
				"%s requested %s at %v, after %s had been granted token 0x%x, but got the lower token 0x%x",
				e.Who(), e.Object, asked.Time, before.Who(), before.Token, e.Token)
		}
		l.seen[e.Token] = e
		if l.highest == nil || e.Token > l.highest.Token {
			l.highest = e
		}
	}
}

// LockFencedWrites judges the accesses that fenced resources recorded, under every fault. It
// requires that the tokens of the accepted accesses to a resource never decrease. It also requires
// that each accepted write adds one to the previous value of the resource.
func LockFencedWrites() Checker {
	return New("lock/fenced-writes", "the fenced resource never accepts a smaller token, and no increment is lost", func(h *history.History, j *Judge) {
		fenced(h, j)
	})
}

func fenced(h *history.History, j *Judge) {
	type state struct{ highest, wrote *history.Event }
	states := make(map[string]*state)
	writes, refused := 0, 0
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind != history.Write {
			continue
		}
		if e.Op == history.WriteRejected {
			refused++
			continue
		}
		s := states[e.Object]
		if s == nil {
			s = &state{}
			states[e.Object] = s
		}
		if s.highest != nil && e.Token < s.highest.Token {
			j.Violation([]history.Event{*s.highest, *e},
				"%s accepted a %s of %s with token 0x%x at %v, %v after one of %s with the higher token 0x%x",
				e.Object, e.Arg, e.Who(), e.Token, e.Time, e.Time-s.highest.Time, s.highest.Who(), s.highest.Token)
		} else {
			s.highest = e
		}
		if e.Arg == "write" {
			writes++
			increment(j, s.wrote, e)
			s.wrote = e
		}
	}
	j.Checked(writes)
	j.NotExercised("no write reached the resource")
	j.Note("%d writes accepted, %d accesses refused", writes, refused)
}

// LockNoFalseRefusal judges the refusals of fenced resources. It requires that a refused token is
// smaller than the largest token that the resource has seen. A refusal can report this largest
// token in Result. If a refusal does not report it, the checker uses the largest token that the
// resource accepted before the refusal.
func LockNoFalseRefusal() Checker {
	return New("lock/no-false-refusal", "the fenced resource refuses no token that is the largest", func(h *history.History, j *Judge) {
		highest := make(map[string]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			before := highest[e.Object]
			switch {
			case e.Kind == history.Write && e.Op == history.WriteAccepted:
				if before == nil || e.Token > before.Token {
					highest[e.Object] = e
				}
			case e.Kind == history.Write && e.Op == history.WriteRejected:
				j.Checked(1)
				refused(j, before, e)
			}
		}
		j.NotExercised("the resource refused nothing")
	})
}

func refused(j *Judge, before, e *history.Event) {
	events, largest := []history.Event{*e}, int64(0)
	if before != nil {
		events, largest = []history.Event{*before, *e}, before.Token
	}
	if named, err := strconv.ParseInt(e.Result, 10, 64); err == nil {
		events, largest = []history.Event{*e}, named
	}
	if e.Token >= largest {
		j.Violation(events, "%s refused a %s of %s with token 0x%x at %v, when the largest token was 0x%x",
			e.Object, e.Arg, e.Who(), e.Token, e.Time, largest)
	}
}

func increment(j *Judge, last, e *history.Event) {
	was := int64(0)
	if last != nil {
		was, _ = strconv.ParseInt(last.Result, 10, 64)
	}
	if now, err := strconv.ParseInt(e.Result, 10, 64); err == nil && now == was+1 {
		return
	}
	events := []history.Event{*e}
	if last != nil {
		events = []history.Event{*last, *e}
	}
	j.Violation(events, "%s wrote %s to %s at %v over %d: an increment was lost", e.Who(), e.Result, e.Object, e.Time, was)
}

// LockNoOverlap judges holds as the programs observed them. It requires that, inside the envelope,
// no two holds of one object overlap. An overlap outside the envelope is exposure.
func LockNoOverlap(envelope Envelope) Checker {
	return New("lock/no-overlap", "no two clients hold the lock at the same time", func(h *history.History, j *Judge) {
		overlaps(h, j, envelope)
	})
}

func overlaps(h *history.History, j *Judge, envelope Envelope) {
	outside := envelope.outside(h)
	exposed := 0
	for hold, others := range begins(h) {
		j.Checked(1)
		if before := outside.unexcused(hold, others); before != nil {
			from := hold.Begin.Time
			j.Violation(inOrder(before.Events(), hold.Events()), "%s and %s both held %s for %v from %v (tokens 0x%x and 0x%x)",
				before.Begin.Who(), hold.Begin.Who(), hold.Begin.Object, overlap(h, hold, *before), from, before.Begin.Token, hold.Begin.Token)
		} else if len(others) > 0 {
			exposed++
			j.Exposed(overlap(h, hold, others...))
		}
	}
	j.NotExercised("nothing was held")
	if exposed > 0 {
		j.Note("%d overlaps outside the envelope, exposure %v", exposed, j.r.Exposure)
	}
}

// inOrder merges events by index, without duplicates.
func inOrder(parts ...[]history.Event) []history.Event {
	all := slices.Concat(parts...)
	slices.SortFunc(all, func(a, b history.Event) int { return int(a.Index - b.Index) })
	return slices.CompactFunc(all, func(a, b history.Event) bool { return a.Index == b.Index })
}

// LockNoReleaseAfterLoss judges releases. It requires that a release returns an error if the
// program had noticed the loss before it invoked the release. It also requires that no token is
// held twice in the same mode. A downgraded writer holds its token again, but as a reader.
func LockNoReleaseAfterLoss() Checker {
	return New("lock/no-release-after-loss", "a release after a loss returns an error, and no grant is held twice", func(h *history.History, j *Judge) {
		type grant struct {
			object string
			token  int64
			mode   string // a writer that is downgraded has a second hold, as a reader
		}
		holds := make(map[grant]history.HoldInterval)
		for _, hold := range h.Holds() {
			g := grant{hold.Begin.Object, hold.Begin.Token, hold.Begin.Arg}
			if first, twice := holds[g]; twice {
				j.Violation(inOrder(first.Events(), hold.Events()), "%s held %s a second time at %v with the token 0x%x of a hold of %s",
					hold.Begin.Who(), g.object, hold.Begin.Time, g.token, first.Begin.Who())
			}
			holds[g] = hold
		}
		ops, _ := h.Operations()
		for _, o := range ops {
			hold, known := holds[grant{o.Invoke.Object, o.Invoke.Token, o.Invoke.Arg}]
			if o.Invoke.Op != OpRelease || !known || !hold.Lost() || hold.Last() > o.Invoke.Index {
				continue
			}
			j.Checked(1)
			if o.Outcome() == session.OK {
				j.Violation(inOrder(hold.Events(), o.Events()), "%s lost %s at %v, but its release at %v returned no error",
					o.Invoke.Who(), o.Invoke.Object, hold.End.Time, o.Invoke.Time)
			}
		}
		j.NotExercised("nothing was released after its loss")
	})
}

// LockOwnNodeIsFirst judges the answers to [OpVerify] during a hold. It requires that the first
// contender is the client's own znode, and that the client's session owns this znode. Outside the
// envelope, a wrong answer is no violation: the time from the answer to the end of the hold counts
// as exposure.
func LockOwnNodeIsFirst(envelope Envelope) Checker {
	return New("lock/own-node-is-first", "a holder's znode exists, belongs to its session and is first in the lock queue", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		type grant struct {
			client int16
			object string
			token  int64
		}
		holds := make(map[grant]history.HoldInterval)
		for _, hold := range h.Holds() {
			holds[grant{hold.Begin.Client, hold.Begin.Object, hold.Begin.Token}] = hold
		}
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op != OpVerify || o.Outcome() != session.OK {
				continue
			}
			hold, known := holds[grant{o.Invoke.Client, o.Invoke.Object, o.Invoke.Token}]
			if !known || o.Invoke.Index < hold.Begin.Index || o.Complete.Index > hold.Last() {
				continue // the hold may have ended before the read
			}
			j.Checked(1)
			switch found := o.Complete; {
			case found.Result == hold.Begin.Node && found.Session == hold.Begin.Session:
			case outside.excuses(hold, found.Time):
				j.Exposed(endTime(h, hold) - found.Time)
			case found.Result != hold.Begin.Node:
				j.Violation(inOrder(hold.Events(), o.Events()), "%s held %s by %s at %v, but the lowest contender was %q",
					found.Who(), found.Object, hold.Begin.Node, found.Time, found.Result)
			default:
				j.Violation(inOrder(hold.Events(), o.Events()), "%s held %s in session 0x%x at %v, but its node %s was owned by 0x%x",
					found.Who(), found.Object, uint64(hold.Begin.Session), found.Time, found.Result, uint64(found.Session))
			}
		}
		j.NotExercised("no hold was verified")
	})
}

// NothingLeft requires that clients left behind nothing of the given kinds. The kinds are "znodes",
// "watches" and "goroutines". If the run did not count a kind, the verdict is Unknown.
func NothingLeft(what ...string) Checker {
	return New("client/nothing-left", "no client leaves anything behind", func(h *history.History, j *Judge) {
		found := make(map[string]bool)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Fact || e.Op != history.FactLeft || !slices.Contains(what, e.Object) {
				continue
			}
			found[e.Object] = true
			j.Checked(1)
			if e.Result != "0" {
				j.Violation([]history.Event{*e}, "%s %s left behind: %s", e.Result, e.Object, e.Arg)
			}
		}
		for _, w := range what {
			if !found[w] {
				j.Unknown("the %s left behind were not counted", w)
			}
		}
	})
}

// WaitersServed judges liveness. It considers the operations with the name `op` that were open at
// the heal or were invoked later. It requires that each of them completes in time, and that some of
// them succeed. The time limit is inTime plus one hold of each client, because every other client
// may hold the object before a waiter does. For each client, the longest completed hold after the
// heal counts.
func WaitersServed(op string, inTime time.Duration) Checker {
	return New("client/waiters-served", fmt.Sprintf("after the heal every waiting client is granted within %v, plus one hold of each client", inTime), func(h *history.History, j *Judge) {
		live(h, j, op, inTime)
	})
}

func live(h *history.History, j *Judge, op string, inTime time.Duration) {
	healed := h.PhaseStart(history.PhaseHealed)
	if healed == nil {
		j.Unknown("the ensemble did not recover")
		return
	}
	ops, _ := h.Operations()
	busy := busyTimes(h)
	inTime += turn(h, healed.Time)
	slowest, granted, ended := time.Duration(0), 0, 0
	for _, o := range ops {
		end := h.End()
		if o.Complete != nil {
			end = o.Complete.Time
		}
		if o.Invoke.Op != op || endedBefore(o, healed) {
			continue
		}
		waited := end - max(o.Invoke.Time, healed.Time)
		switch {
		case busy.overdue(j, o.Invoke.Who()+"'s "+op+" of "+o.Invoke.Object, end-waited, end, inTime):
			j.Violation(inOrder([]history.Event{*healed}, o.Events()), "%s waited for its %s of %s from %v on and had no result %v after the heal",
				o.Invoke.Who(), op, o.Invoke.Object, o.Invoke.Time, end-healed.Time)
		case o.Outcome() == session.OK:
			granted++
			slowest = max(slowest, waited)
		case o.Complete != nil:
			ended++
		}
	}
	j.Checked(granted)
	j.NotExercised("no %s succeeded after the heal", op)
	j.Note("%d granted after the heal, the slowest in %v; %d ended with an error", granted, slowest, ended)
}

// The function `turn` adds up the longest completed holds of all clients, one hold for each client.
// The sum is long enough for every client to hold once. Time before `since` does not count.
func turn(h *history.History, since time.Duration) (sum time.Duration) {
	longest := make(map[int16]time.Duration)
	for _, hold := range h.Holds() {
		if hold.End != nil {
			c := hold.Begin.Client
			longest[c] = max(longest[c], hold.End.Time-max(hold.Begin.Time, since))
		}
	}
	for _, d := range longest {
		sum += d
	}
	return sum
}

// endedBefore reports whether the operation had completed before e, with any outcome.
func endedBefore(o history.Operation, e *history.Event) bool {
	return o.Complete != nil && o.Complete.Index < e.Index
}

// LockGrantsInOrder judges the order of grants. It requires that, inside the envelope, the grants
// of each object begin in the order of their tokens.
func LockGrantsInOrder(envelope Envelope) Checker {
	return New("lock/grants-in-order", "grants are given in the order of their tokens", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		lines := make(map[string]*inLine)
		for _, hold := range h.Holds() {
			e := hold.Begin
			l := lines[e.Object]
			if l == nil {
				l = new(inLine)
				lines[e.Object] = l
			} else {
				j.Checked(1)
			}
			if passed := l.passed(e.Token); passed != nil && outside.excuses(hold, passed.Time) {
				j.Exposed(e.Time - passed.Time)
			} else if passed != nil {
				j.Violation([]history.Event{*passed, *e}, "%s was granted %s at %v with token 0x%x, after %s with the higher token 0x%x",
					e.Who(), e.Object, e.Time, e.Token, passed.Who(), passed.Token)
			}
			l.add(e)
		}
		j.NotExercised("nothing was granted twice in a row")
	})
}

// LockLossBeforeExpiry judges when holds end. It requires that, inside the envelope, a hold ends
// before its session is observed to end at the servers. If another client closes the session, the
// holder cannot know this in advance. In this case, the hold is allowed to end late: a delay of at
// most Envelope.After counts as exposure, not as a violation.
func LockLossBeforeExpiry(envelope Envelope) Checker {
	return New("lock/loss-before-expiry", "a hold ends before the servers expire its session", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		type grant struct {
			object string
			token  int64
		}
		granted := make(map[grant]int32) // index of the first hold of each grant; a downgraded writer begins a second one
		bySession := make(map[int64][]history.HoldInterval)
		for _, hold := range h.Holds() {
			bySession[hold.Begin.Session] = append(bySession[hold.Begin.Session], hold)
			g := grant{hold.Begin.Object, hold.Begin.Token}
			if _, again := granted[g]; !again {
				granted[g] = hold.Begin.Index
			}
		}
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Session || e.Op != history.SessionExpired {
				continue
			}
			for _, hold := range bySession[e.Session] {
				if granted[grant{hold.Begin.Object, hold.Begin.Token}] > e.Index {
					j.Violation(inOrder(hold.Events(), []history.Event{*e}), "%s was granted %s at %v in session 0x%x, which the servers had ended at %v",
						hold.Begin.Who(), hold.Begin.Object, hold.Begin.Time, uint64(e.Session), e.Time)
					continue
				}
				if hold.Lost() || hold.Last() > e.Index {
					j.Checked(1)
				}
				if hold.Last() < e.Index {
					continue
				}
				late := endTime(h, hold) - e.Time
				if e.Arg == "closed" && late <= outside.after || outside.excuses(hold, e.Time) {
					j.Exposed(late)
				} else {
					j.Violation(inOrder(hold.Events(), []history.Event{*e}), "%s believed that it held %s for %v after the servers had ended its session 0x%x at %v",
						hold.Begin.Who(), hold.Begin.Object, late, uint64(e.Session), e.Time)
				}
			}
		}
		j.NotExercised("no session ended during a hold")
	})
}
