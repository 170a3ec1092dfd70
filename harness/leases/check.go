package leases

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// resolution is the precision of times in the servers' logs.
const resolution = time.Millisecond

// handOver is the longest time for which a goroutine that must end a hold may wait for a processor,
// in addition to the delay of timers. On a virtual clock, goroutines do not wait for a processor.
const handOver = 5 * time.Millisecond

// Servers is what the ensemble reports about sessions. Both fields are nil if it reports nothing.
type Servers struct {
	Log      *witness.Log
	Expiries []ensemble.Expiry
}

// Checkers returns the checkers that judge the trace t. Their properties are optional: if the
// sessions of a run report nothing, the properties are not exercised, and the run can still pass.
func (t *Trace) Checkers(envelope checker.Envelope, servers Servers) []checker.Checker {
	var all []checker.Checker
	for _, p := range []struct {
		id, claim string
		check     func(*judging)
	}{
		{"lease/within-evidence", "a lease stands no longer than the rule allows from the packets of its connection", (*judging).withinEvidence},
		{"lease/covers-holds", "a hold is granted only under a lease, and ends with it", (*judging).coversHolds},
		{"lease/waiters-are-silent", "a session whose lease stands sends no heartbeat while all of its holds only wait", (*judging).waitersAreSilent},
		{"lease/ends-before-expiry", "the servers expire a session only after its lease has ended", (*judging).endsBeforeExpiry},
		{"lease/expiry-after-touch", "a leader expires a session no sooner than a timeout after the last sign of life, and it had received those on which the lease rested", (*judging).expiryAfterTouch},
	} {
		all = append(all, checker.IfExercised(checker.New(p.id, p.claim, func(h *history.History, j *checker.Judge) {
			if len(t.Events) == 0 {
				j.NotExercised("no session of package session ran in this process")
				return
			}
			lag := func(e history.Event) bool { return e.Kind == history.Fact && e.Op == history.FactLag }
			p.check(&judging{Judge: j, trace: t, servers: servers, history: h, Excuse: envelope.In(h), real: slices.ContainsFunc(h.Events, lag)})
		})))
	}
	return all
}

// A judging judges one property of one trace.
type judging struct {
	*checker.Judge
	checker.Excuse
	trace   *Trace
	history *history.History
	servers Servers
	real    bool // the clock is real
}

// A tracked session has the state of one session while a checker reads the trace.
type tracked struct {
	client  int16
	id      int64
	open    bool
	sent    map[int32][]*Event // requests that are not answered, by xid
	allowed lease
	claimed time.Duration    // the deadline that the session reported last
	most    time.Duration    // the latest deadline that it ever reported
	ends    time.Duration    // the time by which holds must have ended
	holds   map[int32]*Event // by number, the grant of each hold that has not ended
	waits   map[int32]*Event // by number, the latest event of each contender that was not granted its hold yet

	// The remaining fields describe the event that was applied last.
	request *Event        // the request that the reply answers; nil if there is none
	waiting int           // the number of requests that the reply may answer
	before  time.Duration // the value of `claimed` before the event
	ended   *Event        // the grant of the hold that ended; nil if there was no grant
}

// The method `replay` applies the events in order, and calls `see` after each of them. It returns
// all sessions.
func (j *judging) replay(see func(*tracked, *Event)) map[int64]*tracked {
	all := make(map[int64]*tracked)
	for i := range j.trace.Events {
		e := &j.trace.Events[i]
		s := all[e.Session]
		if s == nil {
			s = &tracked{client: e.Client, id: e.Session, allowed: newLease(), claimed: Never, most: Never, ends: Never,
				sent: make(map[int32][]*Event), holds: make(map[int32]*Event), waits: make(map[int32]*Event)}
			all[e.Session] = s
		}
		s.apply(e)
		see(s, e)
	}
	return all
}

func (s *tracked) apply(e *Event) {
	switch e.Kind {
	case leasetrace.Opened:
		s.open = true
		clear(s.sent)
		s.allowed.open(e)
		s.claim(e)
	case leasetrace.Closed:
		s.open = false
	case leasetrace.Sent:
		s.sent[e.Xid] = append(s.sent[e.Xid], e)
	case leasetrace.Answered:
		s.answered(e)
		s.claim(e)
	case leasetrace.Waiting, leasetrace.Expected:
		s.waits[e.Hold] = e
	case leasetrace.Granted:
		delete(s.waits, e.Hold)
		s.holds[e.Hold] = e
	case leasetrace.Ended:
		s.ended = s.holds[e.Hold]
		delete(s.waits, e.Hold)
		delete(s.holds, e.Hold)
	}
}

// The method `answered` applies a reply to the oldest request with its xid on this connection.
func (s *tracked) answered(e *Event) {
	s.request, s.waiting = nil, len(s.sent[e.Xid])
	if !s.open || s.waiting == 0 {
		return
	}
	s.request = s.sent[e.Xid][0]
	if s.sent[e.Xid] = s.sent[e.Xid][1:]; s.waiting == 1 {
		delete(s.sent, e.Xid)
	}
	if p := min(e.Proof, proves(s.request.Op, e.Code, e.Part)); p != 0 {
		s.allowed.answer(p, s.request.At, e.At, e.Zxid>>32)
	}
}

// The method `claim` notes the lease that the session reported.
func (s *tracked) claim(e *Event) {
	s.before, s.claimed, s.most = s.claimed, e.Deadline, max(s.most, e.Deadline)
	switch {
	case s.claimed > s.before:
		s.ends = s.claimed
	case s.claimed < s.before:
		s.ends = min(s.before, max(s.claimed, e.At))
	}
}

func (s *tracked) String() string { return fmt.Sprintf("session 0x%x of c%d", uint64(s.id), s.client) }

// withinEvidence judges each reply that a session used as evidence, and the lease that the session
// reported with it.
func (j *judging) withinEvidence() {
	moved := 0
	j.replay(func(s *tracked, e *Event) {
		if e.Kind != leasetrace.Answered && e.Kind != leasetrace.Opened {
			return
		}
		j.Checked(1)
		if e.Kind == leasetrace.Answered {
			if why := s.mistaken(e); why != "" {
				j.Violation(nil, "%v took a reply with xid %d, read at %v, for evidence, but %s", s, e.Xid, e.At, why)
			}
		}
		if s.claimed > s.before {
			moved++
		}
		if s.claimed > s.allowed.deadline {
			j.Violation(nil, "%v had a lease until %v after a reply read at %v, but the rule allows %s", s, s.claimed, e.At, until(s.allowed.deadline))
		}
	})
	j.Note("%d events, and a lease moved %d times", len(j.trace.Events), moved)
}

// The method `mistaken` judges a reply that the session has used as evidence. If this use was
// wrong, the method returns the reason. Otherwise it returns "".
func (s *tracked) mistaken(e *Event) string {
	switch r := s.request; {
	case r == nil:
		return "no request with that xid was waiting on the connection"
	case s.waiting > 1 && e.Xid != wire.XidPing: // pings are answered in their order
		return fmt.Sprintf("it may answer any of %d requests", s.waiting)
	case e.Sent != r.At || e.At < r.At:
		return fmt.Sprintf("its %v was sent at %v and not at %v", r.Op, r.At, e.Sent)
	case e.Proof > proves(r.Op, e.Code, e.Part):
		return fmt.Sprintf("the reply to a %v (error %v, first part %v) is no proof of the kind %q", r.Op, e.Code, e.Part, proofNames[e.Proof])
	}
	return ""
}

func until(d time.Duration) string {
	if d == Never {
		return "none"
	}
	return "one until " + d.String()
}

// coversHolds judges when holds begin and end.
func (j *judging) coversHolds() {
	for _, s := range j.replay(func(s *tracked, e *Event) {
		switch e.Kind {
		case leasetrace.Granted:
			j.Checked(1)
			if e.At >= s.claimed {
				j.Violation(nil, "%v was granted %s at %v, but its lease had lapsed at %v", s, e.Path, e.At, s.claimed)
			}
		case leasetrace.Ended:
			if s.ended != nil {
				j.ended(s, e.Path, e.At)
			}
		case leasetrace.Answered:
			if s.before <= e.At && s.claimed > e.At {
				for _, hold := range s.holds {
					j.Violation(nil, "%v held %s when its lease began again at %v, although it had lapsed at %v", s, hold.Path, e.At, s.before)
				}
			}
		}
	}) {
		for _, hold := range s.holds {
			j.ended(s, hold.Path, j.trace.End)
		}
	}
	j.NotExercised("no hold was granted")
}

// The method `ended` judges a hold that ended at the time `at`, or that had not ended at that time.
func (j *judging) ended(s *tracked, path string, at time.Duration) {
	late := at - s.ends - j.Lateness(s.ends, at)
	if j.real {
		late -= handOver
	}
	switch {
	case late <= 0:
	case j.Explains(s.ends, at, s.client):
		j.Exposed(late)
	default:
		j.Violation(nil, "%v held %s until %v, but its lease had lapsed at %v", s, path, at, s.ends)
	}
}

// waitersAreSilent judges what a session sends while it only waits: it has contenders, holds
// nothing and is next in no lock queue. The session must not send heartbeats while its lease
// stands. It is allowed to send heartbeats when it has no lease: after a stall, only writes show
// that the session still exists. Each period in which a session only waits counts as one check if
// the period is longer than half a session timeout.
func (j *judging) waitersAreSilent() {
	since := make(map[*tracked]time.Duration) // when each session began to do nothing but wait
	count := func(s *tracked, began, ended time.Duration) {
		if ended-began > s.allowed.timeout/2 {
			j.Checked(1)
		}
	}
	j.replay(func(s *tracked, e *Event) {
		began, waited := since[s]
		switch waits := s.onlyWaits(); {
		case e.Kind == leasetrace.Heartbeat && waits && e.At < s.claimed:
			j.Violation(nil, "%v sent a heartbeat at %v, although it only waited for %d holds", s, e.At, len(s.waits))
		case waits && !waited:
			since[s] = e.At
		case !waits && waited:
			delete(since, s)
			count(s, began, e.At)
		}
	})
	for s, began := range since {
		count(s, began, j.trace.End)
	}
	j.NotExercised("no session waited for half of its timeout without being next")
}

// onlyWaits reports whether the session has contenders, and none of them was granted its hold or is
// next.
func (s *tracked) onlyWaits() bool {
	for _, e := range s.waits {
		if e.Kind == leasetrace.Expected {
			return false
		}
	}
	return len(s.holds) == 0 && len(s.waits) > 0
}

// endsBeforeExpiry judges the promise of a lease. It requires that the servers expire a session
// only after the session's lease has ended.
func (j *judging) endsBeforeExpiry() {
	if j.timeless() {
		return
	}
	j.NotExercised("no session expired")
	if j.servers.Log == nil {
		j.NotExercised("the ensemble has no transaction logs")
		return
	}
	none := time.Duration(math.MaxInt64)
	least, all := none, j.replay(func(*tracked, *Event) {})
	for _, t := range j.servers.Log.Txns {
		s := all[t.Session]
		if t.Op != wire.OpCloseSession || t.Cxid != 0 || s == nil || s.most == Never {
			continue
		}
		j.Checked(1)
		at := time.UnixMilli(t.Time).Sub(j.history.Start)
		switch late := s.most - at - resolution; {
		case late <= 0:
			least = min(least, at-s.most)
		case j.Outside(at, s.most, s.client):
			j.Exposed(late)
		default:
			j.Violation(nil, "%v had a lease until %v, but a leader expired it at %v (transaction 0x%x)", s, s.most, at, t.Zxid)
		}
	}
	switch {
	case least == none: // all expiries were exposed
	case least < 0:
		j.Note("the closest expiry came %v before the end of the lease, which is within the precision of the servers' times", -least)
	default:
		j.Note("the closest expiry came %v after the end of the lease", least)
	}
}

// expiryAfterTouch compares expiries with the session table of the leader. It requires that the
// leader does not expire a session too early. It also requires that, before the expiry, the leader
// received the packet from which the session's lease was counted.
func (j *judging) expiryAfterTouch() {
	if j.timeless() {
		return
	}
	j.NotExercised("no session expired, or the ensemble does not show when leaders received signs of life")
	all := j.replay(func(*tracked, *Event) {})
	for _, x := range j.servers.Expiries {
		s := all[x.Session]
		if t, committed := j.servers.Log.Txn(x.Zxid); !committed || t.Op != wire.OpCloseSession || t.Session != x.Session || s == nil {
			continue
		}
		j.Checked(1)
		touched, taken, timeout := x.Touched.Sub(j.history.Start), x.Taken.Sub(j.history.Start), s.allowed.timeout
		if taken-touched < timeout {
			j.Violation(nil, "a leader took %v, which has a timeout of %v, from its table at %v, although it had been active at %v", s, timeout, taken, touched)
		}
		if s.allowed.deadline == Never {
			continue
		}
		if rests := s.allowed.deadline - timeout + s.allowed.margin(); rests > touched && !j.Outside(touched, rests, s.client) {
			j.Violation(nil, "the lease of %v rested on a packet sent at %v, but the leader that expired it had last received a sign of life at %v", s, rests, touched)
		}
	}
}

// The method `timeless` reports whether the times in the servers' logs mean nothing, because a
// fault changed the servers' clocks or timers.
func (j *judging) timeless() bool {
	if f := j.history.ClockFault(); f != "" {
		j.NotExercised("the fault %s changed a clock or the timers of a server", f)
		return true
	}
	return false
}
