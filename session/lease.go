package session

import (
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// The type `lease` applies the rule of the lease. It computes a time before which no other client
// can be granted what this session holds. The computation is based on the times at which packets
// were sent and answered. The type reads no clock and does no I/O.
//
// The rule and its proof from ZooKeeper's sources are in docs/decisions/0001-lease.md. In short,
// the leader expires a session no sooner than its timeout after the last activity that the leader
// has received. An activity is a packet of any kind that was answered without an error. The lease
// keeps two times:
//
//   - `kept`: before this time, the leader of this connection does not expire the session. A packet
//     k that went to the leader and back can postpone this time, if k proves that the leader had
//     received an earlier activity a. But a follower may forward k before it has reported a to the
//     leader. So the proof needs a third packet j, which went to the leader and back too. The
//     client sent j long enough after the answer to a (see lease.period), so the answer to j proves
//     that the follower had reported a. The client sent k after the answer to j, so the leader
//     received the report before k. If a is the handshake, no j is needed. Both k and j can be
//     syncs, which cost the ensemble no write.
//   - `deadline`: before this time, no leader expires the session. An acknowledged quorum write
//     moves it to `kept`, because the write proves that the leader still had a majority.
type lease struct {
	timeout time.Duration // the session timeout, T in the proof
	tick    time.Duration // tick of the server, or the longest possible

	deadline time.Time // the lease stands before this instant
	kept     time.Time // never earlier than the deadline

	connected   bool
	opened      time.Time // when the handshake of this connection was sent
	lastReached time.Time // sending time of the last packet that went to the leader and back
	lastWrite   time.Time // sending time of the last acknowledged quorum write
	roundTrip   time.Duration
	epoch       int64 // of the leader; 0 before the first acknowledged write on this connection

	carried   carried
	probation probation
	trustIdle bool // Options.UnsafeTrustIdle

	// marks divide the recent past of this connection into slots. Older slots are forgotten,
	// because no lease depends on them.
	marks []mark
}

// A mark is the record of one slot of time: its first activity and its first evidence. Evidence is
// a packet that went to the leader and back.
type mark struct {
	slot               int64
	activity, evidence span
}

// A span holds the times at which a packet was sent and its answer was read.
type span struct{ sent, answered time.Time }

// carried is the evidence of the latest earlier connection on which a write was acknowledged. The
// lease uses it when the first write of the current connection is acknowledged:
//
//   - If the leader is still the same (`epoch`), the leader does not expire the session before
//     `kept`. The earlier connection has proved this.
//   - If there is a new leader, this leader began after `lastWrite` and gave every session a whole
//     timeout. So the new leader does not expire the session before `lastWrite` plus a timeout.
type carried struct {
	epoch     int64
	kept      time.Time
	lastWrite time.Time
}

// After lease.kept has passed, the next answer to a write begins a probation. Nothing is granted
// until the probation ends.
//
// When a probation begins, the leader may already have removed the session from its table to close
// it, although the leader still answers requests. In this case the leader closes the session within
// one session timeout. After the close, every write fails. So if a write is sent at least one
// session timeout after the probation began, and the write succeeds, the leader had not removed the
// session. Such a write ends the probation.
type probation struct {
	since time.Time // time of the answer that began the probation
	kept  time.Time // the next value of lease.kept, if the session survives
}

// slots is the number of marks for one session timeout. More slots would improve the deadline by
// less than timeout/slots.
const slots = 64

// spacing is the maximum number of heartbeats in a session timeout. The method `stands` returns
// true only if the lease has at least timeout/spacing left, enough for one more heartbeat.
const spacing = 32

func (l *lease) margin() time.Duration  { return l.timeout / 20 }                         // for clock rates and late timers
func (l *lease) epsilon() time.Duration { return max(l.timeout/40, 20*time.Millisecond) } // how late a PING of a running leader may be
func (l *lease) proving() time.Duration { return l.timeout }                              // how long probation lasts
func (l *lease) period() time.Duration  { return l.tick/2 + l.epsilon() }                 // longest time between two reports of a follower to its leader

// restart records a new connection whose handshake was sent at the given time. If `fresh` is true,
// the connection created the session. The creation of a session is a quorum write, so it begins a
// lease.
func (l *lease) restart(sent time.Time, timeout, tick time.Duration, fresh bool) {
	if l.epoch != 0 {
		l.carried = carried{l.epoch, l.kept, l.lastWrite}
	}
	l.kept = l.deadline // the server of this connection may follow another leader
	switch {
	case fresh:
		l.timeout = timeout
	case timeout != l.timeout:
		// At each activity, the leader sets a new time of expiry, with the timeout that is valid
		// then. With a shorter timeout, this time can be before the one that an earlier activity
		// has set. So everything that was proved with the old timeout is dropped.
		l.timeout = min(l.timeout, timeout)
		l.forget()
	}
	l.tick = tick
	l.connected, l.opened, l.epoch = true, sent, 0
	l.lastReached, l.lastWrite, l.roundTrip = time.Time{}, time.Time{}, 0
	l.probation, l.marks = probation{}, l.marks[:0]
	if fresh {
		l.lastReached, l.lastWrite = sent, sent
		l.kept = l.keptBy(sent)
		l.deadline = l.kept
	}
}

// forget ends the lease: all measured times are dropped.
func (l *lease) forget() {
	l.deadline, l.kept = time.Time{}, time.Time{}
	l.carried, l.probation, l.epoch = carried{}, probation{}, 0
	l.marks = l.marks[:0]
}

// disconnect records the end of the connection. From then on, no packet is recorded until the next
// call of restart. The deadline remains.
func (l *lease) disconnect() { l.connected = false }

// The method `activity` records a packet of any kind that was answered without an error.
func (l *lease) activity(sent, answered time.Time) {
	if !l.connected {
		return
	}
	if m := l.at(sent); m.activity.sent.IsZero() {
		m.activity = span{sent, answered}
	}
}

// The method `reached` records a packet that went to the leader and back: a sync or a quorum write.
// It returns a time `known`. The leader does not expire the session before `known`, unless the
// leader had already removed the session from its table to close it.
//
// The leader certainly does not expire the session before l.kept. So if the packet was answered
// before l.kept, the leader still had the session in its table. In this case, `reached` moves
// l.kept to `known`, if `known` is later.
//
// During a probation, l.kept has passed, and l.probation.kept is the next value of l.kept, if the
// session survives. If the packet was answered before l.probation.kept, `reached` moves
// l.probation.kept to `known`, if `known` is later.
func (l *lease) reached(sent, answered time.Time) (known time.Time) {
	if !l.connected {
		return known
	}
	l.lastReached, l.roundTrip = sent, answered.Sub(sent)
	known = l.keptBy(l.latestKnown(sent))
	switch {
	case answered.Before(l.kept):
		l.kept = times.Later(l.kept, known)
	case answered.Before(l.probation.kept):
		l.probation.kept = times.Later(l.probation.kept, known)
	}
	// The packet is recorded as evidence only now, so that it is no evidence for itself.
	if m := l.at(sent); m.evidence.sent.IsZero() {
		m.evidence = span{sent, answered}
	}
	return known
}

// The method `write` records a quorum write that the leader of the given epoch acknowledged. Then
// the method moves the deadline to l.kept, unless a probation begins or continues. The caller has
// already recorded the write as activity.
func (l *lease) write(sent, answered time.Time, epoch int64) {
	if !l.connected {
		return
	}
	if by := l.keptSince(epoch); answered.Before(by) {
		l.kept = times.Later(l.kept, by)
	}
	l.carried, l.epoch, l.lastWrite = carried{}, epoch, sent
	known := l.reached(sent, answered)
	switch {
	case answered.Before(l.kept):
		l.probation = probation{}
	case l.trustIdle:
		l.kept = l.keptBy(l.activeBy(len(l.marks)-1, sent.Add(-l.period()-l.timeout/4)))
	case !answered.Before(l.probation.kept):
		l.probation = probation{since: answered, kept: known}
		return
	case sent.Sub(l.probation.since) < l.proving():
		return
	default:
		l.kept, l.probation = l.probation.kept, probation{}
	}
	l.deadline = l.kept
}

// keptSince returns a time before which the leader of the given epoch does not expire the session.
// It uses only l.carried, the evidence of an earlier connection. If there is no such evidence,
// keptSince returns the zero time.
func (l *lease) keptSince(epoch int64) time.Time {
	switch l.carried.epoch {
	case 0:
		return time.Time{}
	case epoch:
		return l.carried.kept
	}
	return l.keptBy(l.carried.lastWrite)
}

// latestKnown finds the latest activity that the leader had certainly received when it handled a
// packet sent at k. It returns the time at which that activity was sent. In any case, the leader
// had received the handshake, because the handshake had been sent earlier on the same path. So if
// no later activity is certain, latestKnown returns the time at which the handshake was sent.
func (l *lease) latestKnown(k time.Time) time.Time {
	i := len(l.marks) - 1
	for i >= 0 && !l.marks[i].evidence.before(k) {
		i--
	}
	if i < 0 {
		return l.opened
	}
	return l.activeBy(i, l.marks[i].evidence.sent.Add(-l.period()))
}

// activeBy finds the latest activity that was answered at t or earlier, in the marks up to index i.
// It returns the time at which that activity was sent. If there is no such activity, it returns the
// time at which the handshake was sent.
func (l *lease) activeBy(i int, t time.Time) time.Time {
	for ; i >= 0; i-- {
		if a := l.marks[i].activity; a.before(t) {
			return a.sent
		}
	}
	return l.opened
}

func (s span) before(t time.Time) bool { return !s.sent.IsZero() && !s.answered.After(t) }

// keptBy returns a time before which the leader does not expire the session, if the leader has
// received an activity that was sent at the given time.
func (l *lease) keptBy(activity time.Time) time.Time {
	return activity.Add(l.timeout - l.margin())
}

// The method `at` returns the mark of the slot that contains t, the time at which a packet was
// sent: see the type `mark`. A packet is recorded when it has been answered, and packets are
// answered in the order in which they were sent. So t never decreases from call to call, and the
// mark is the last one so far, or a new one.
func (l *lease) at(t time.Time) *mark {
	slot := int64(t.Sub(l.opened) / (l.timeout / slots))
	if n := len(l.marks); n > 0 && l.marks[n-1].slot >= slot {
		return &l.marks[n-1]
	}
	if len(l.marks) >= 4*slots {
		l.marks = append(l.marks[:0], l.marks[2*slots:]...)
	}
	l.marks = append(l.marks, mark{slot: slot})
	return &l.marks[len(l.marks)-1]
}

// The method `beat` returns the time between two heartbeats. A heartbeat proves only activity that
// was answered at least one period before the previous heartbeat was sent: see lease.period. The
// longer the tick, the longer the period, and the older that activity can be. The deadline is
// counted from that activity. So with a long tick, a heartbeat gives less time until the deadline,
// and heartbeats are needed more often.
func (l *lease) beat() time.Duration {
	if 4*l.tick <= l.timeout {
		return l.timeout / 4
	}
	return l.timeout / 6
}

// renew returns when the next request that keeps the lease is due, and whether it must be a quorum
// write or can be a sync.
//
// A session that holds something keeps l.deadline in the future, by writes. An idle session keeps
// only l.kept in the future, by syncs, so that its next write begins a lease at once. If l.kept has
// passed, a write begins a probation, during which nothing is granted (see the type `probation`).
// Syncs then keep l.probation.kept in the future until a write can end the probation.
func (l *lease) renew(now time.Time, holding bool) (due time.Time, write bool) {
	switch {
	case holding && now.Before(l.deadline):
		return l.before(l.deadline, l.lastWrite), true
	case now.Before(l.kept):
		if holding {
			return l.spaced(now), true
		}
		return l.before(l.kept, l.lastReached), false
	case now.Before(l.probation.kept):
		proven := l.probation.since.Add(l.proving())
		if due := l.before(l.probation.kept, l.lastReached); due.Before(proven) {
			return due, false
		}
		return l.spaced(proven), true
	}
	return l.spaced(now), true
}

// The method `before` returns when to renew the deadline `end`, which was last renewed at `last`.
// This is one beat after `last`, or earlier if `end` is near. But it is never earlier than
// timeout/spacing after `last`.
func (l *lease) before(end, last time.Time) time.Time {
	near := end.Add(-max(l.timeout/8, 3*l.roundTrip))
	return times.Later(times.Earlier(near, last.Add(l.beat())), last.Add(l.timeout/spacing))
}

// The method `spaced` returns the later of two times: t, and the end of a pause. The pause begins
// when the last write was sent, and lasts timeout/spacing. After a stall, late answers to writes
// hardly extend the lease. Without the pause, the session would send the next heartbeat at once
// after each late answer.
func (l *lease) spaced(t time.Time) time.Time {
	return times.Later(t, l.lastWrite.Add(l.timeout/spacing))
}

// The method `stands` reports whether the lease stands at the given time, with enough time left to
// be useful.
func (l *lease) stands(now time.Time) bool {
	return l.deadline.Sub(now) >= l.timeout/spacing
}
