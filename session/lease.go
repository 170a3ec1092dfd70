package session

import "time"

// lease is the pure core of the lease: from the times at which packets were
// sent and answered it computes the instant before which no other client can
// be granted what this session holds. It reads no clock and does no I/O.
//
// The rule and its proof from ZooKeeper's sources are in
// docs/decisions/0001-lease.md; the names a, j and k are those used there. In
// short: the leader expires a session no sooner than its timeout after the
// last activity that it was told of. That it was told of an activity a is
// shown by a quorum write k sent after the answer to a packet j that had made
// the way to the leader and back on the same connection, and was itself sent
// one reporting period after the answer to a.
type lease struct {
	timeout time.Duration // T
	tick    time.Duration // of the server, or the most that it can be

	deadline time.Time // before it the lease stands

	connected  bool
	opened     time.Time // when the handshake of this connection was sent
	lastWrite  time.Time // when the last acknowledged quorum write was sent
	roundTrip  time.Duration
	lastActive time.Time // when the last answered packet was sent
	steady     bool      // since the deadline last moved, activity has not paused and no write was held up
	confirm    bool      // the deadline rests on the assumption for idle sessions
	probation  probation

	// marks divide the recent past of this connection into slots; older ones
	// are forgotten, as no lease rests on them.
	marks []mark
}

// A mark is what is remembered of one slot of time: its first activity, and
// its first packet that is evidence of the way to the leader and back.
type mark struct {
	slot               int64
	activity, evidence span
}

// A span is when a packet was sent and when its answer was read.
type span struct{ sent, answered time.Time }

// probation is a quorum write acknowledged when no lease stood. The session
// might have been about to be closed then; that it was not is shown by one
// more write some time later.
type probation struct {
	activity time.Time // what the write shows that the leader knew of
	since    time.Time // when it was acknowledged; zero for none
}

// slots is the number of marks for one session timeout. More would make the
// deadline later by less than timeout/slots.
const slots = 64

// spacing is the number of heartbeats to a session timeout at most. What is
// left of a lease that stands is at least that long, so that one more fits in.
const spacing = 32

// The parts of a session timeout that the rule is made of.
func (l *lease) margin() time.Duration  { return l.timeout / 20 }                         // clock rates, late timers
func (l *lease) epsilon() time.Duration { return max(l.timeout/40, 20*time.Millisecond) } // a late PING of a running leader
func (l *lease) hidden() time.Duration  { return l.timeout / 4 }                          // silence assumed for an idle session
func (l *lease) proving() time.Duration { return max(l.timeout/8, 20*time.Millisecond) }  // how long probation lasts
func (l *lease) period() time.Duration  { return l.tick/2 + l.epsilon() }                 // between a follower's reports

// restart begins a connection whose handshake was sent at the given time.
// With fresh, it created the session, which is a quorum write.
func (l *lease) restart(sent time.Time, timeout, tick time.Duration, fresh bool) {
	switch {
	case fresh:
		l.timeout = timeout
	case timeout != l.timeout:
		// Activity counts for as long as the timeout it came with, and a
		// shorter one can move an expiry forward. Nothing known holds any more.
		l.timeout = min(l.timeout, timeout)
		l.deadline = time.Time{}
	}
	l.tick = tick
	l.connected, l.opened = true, sent
	l.lastWrite, l.roundTrip, l.lastActive = time.Time{}, 0, sent
	l.steady, l.confirm = fresh, false
	l.probation, l.marks = probation{}, l.marks[:0]
	if fresh {
		l.lastWrite = sent
		l.extend(sent)
	}
}

// disconnect ends the evidence of the current connection. The deadline that
// it gave remains.
func (l *lease) disconnect() { l.connected = false }

// activity notes a packet that was answered without an error, whatever it was.
func (l *lease) activity(sent, answered time.Time) {
	if !l.connected {
		return
	}
	if answered.Sub(l.lastActive) >= l.timeout-l.period()-l.hidden() {
		l.steady = false
	}
	l.lastActive = sent
	if m := l.at(sent); m.activity.sent.IsZero() {
		m.activity = span{sent, answered}
	}
}

// reached notes a packet that was answered after a way to the leader and
// back: a sync, or a quorum write.
func (l *lease) reached(sent, answered time.Time) {
	if !l.connected {
		return
	}
	if m := l.at(sent); m.evidence.sent.IsZero() {
		m.evidence = span{sent, answered}
	}
}

// attempt notes a quorum write that was answered, applied or not. One that was
// sent while the lease stood and is answered when it no longer does shows a
// lapse: whatever held it up may have held the reports up too, for longer
// than is assumed for a session that was merely idle. The first write after
// idleness was not held up if it is answered soon.
func (l *lease) attempt(sent, answered time.Time) {
	first := sent.Sub(l.lastWrite) >= l.timeout/2
	soon := answered.Sub(sent) < l.hidden()/2
	if sent.Before(l.deadline) && !answered.Before(l.deadline) && !(first && soon) {
		l.steady = false
	}
}

// write notes an acknowledged quorum write, after activity, reached and
// attempt were told of it too, and moves the deadline.
func (l *lease) write(sent, answered time.Time) {
	if !l.connected {
		return
	}
	l.lastWrite, l.roundTrip = sent, answered.Sub(sent)
	known := l.known(sent)
	switch {
	case answered.Before(l.deadline):
		l.confirm = false
		l.extend(known)
	case l.steady && l.deadlineOf(l.knownIdle(sent)).After(answered):
		l.confirm = true
		l.extend(l.knownIdle(sent))
	case !l.probation.since.IsZero() && l.deadlineOf(l.probation.activity).After(answered):
		if sent.Sub(l.probation.since) >= l.proving() {
			l.extend(l.probation.activity)
			l.extend(known)
			l.probation = probation{}
		}
	default:
		l.probation = probation{activity: known, since: answered}
	}
}

// known returns when the latest activity was sent that the leader had been
// told of when it prepared a write sent at k. The handshake always is: it was
// activity at the leader, on the link that k takes later.
func (l *lease) known(k time.Time) time.Time {
	i := len(l.marks) - 1
	for i >= 0 && !(l.marks[i].evidence.before(k)) {
		i--
	}
	if i < 0 {
		return l.opened
	}
	return l.activityBefore(i, l.marks[i].evidence.sent.Add(-l.period()))
}

// knownIdle is known for a session that made no request lately: in place of
// an answer from the leader stands the assumption that reports were not held
// back for longer than hidden.
func (l *lease) knownIdle(k time.Time) time.Time {
	return l.activityBefore(len(l.marks)-1, k.Add(-l.period()-l.hidden()))
}

// activityBefore returns when the latest activity up to mark i was sent that
// was answered by t.
func (l *lease) activityBefore(i int, t time.Time) time.Time {
	for ; i >= 0; i-- {
		if a := l.marks[i].activity; a.before(t) {
			return a.sent
		}
	}
	return l.opened
}

func (s span) before(t time.Time) bool { return !s.sent.IsZero() && !s.answered.After(t) }

func (l *lease) deadlineOf(activity time.Time) time.Time {
	return activity.Add(l.timeout - l.margin())
}

func (l *lease) extend(activity time.Time) {
	if d := l.deadlineOf(activity); d.After(l.deadline) {
		l.deadline = d
	}
	l.steady = true
}

// at returns the mark of the slot that t falls in. Packets are answered in
// the order sent, so that is the last one or a new one.
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

// beat is the time from one heartbeat to the next. A deadline rests on what was
// answered a period before the heartbeat before: where periods are long, or
// may be, heartbeats have to be closer.
func (l *lease) beat() time.Duration {
	if 4*l.tick <= l.timeout {
		return l.timeout / 4
	}
	return l.timeout / 6
}

// renewAt returns when the next heartbeat is due if the lease is to be kept:
// a beat after the last write, or earlier where the deadline is near. It may
// stay near for a while although writes are answered: after a stall there is
// nothing recent for them to prove. They are spaced.
func (l *lease) renewAt(now time.Time) time.Time {
	switch {
	case now.Before(l.deadline) && !l.confirm:
		near := l.deadline.Add(-max(l.timeout/8, 3*l.roundTrip))
		return later(earlier(near, l.lastWrite.Add(l.beat())), l.lastWrite.Add(l.timeout/spacing))
	case l.probation.since.IsZero() || now.Before(l.deadline):
		return now
	}
	return l.probation.since.Add(l.proving())
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// stands reports whether the lease stands at now, for long enough to be of use.
func (l *lease) stands(now time.Time) bool {
	return l.deadline.Sub(now) >= l.timeout/spacing
}
