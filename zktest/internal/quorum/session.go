package quorum

import (
	"cmp"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A tracker is the leader's table of sessions. A session expires at the first
// tick after its timeout has passed since the last touch. Deadlines are rounded
// up to the next tick, so a session never expires sooner than its timeout.
type tracker struct {
	tick     time.Duration
	sessions map[int64]*session
	next     time.Duration        // time of the next tick
	global   func() time.Duration // the cluster's time
}

type session struct {
	id       int64
	owner    any // the server it is connected to: a *peer, or self; nil if unknown
	closing  bool
	closed   bool // the leader has proposed a transaction that closes it
	deadline time.Duration
	touched  time.Duration // time of the cluster at the last touch
}

// The value `self` is the owner of the sessions that are connected to the leader.
var self any = new(int)

func newTracker(tick, now time.Duration, global func() time.Duration) *tracker {
	t := &tracker{tick: tick, sessions: make(map[int64]*session), global: global}
	t.next = t.round(now)
	return t
}

func (t *tracker) round(at time.Duration) time.Duration { return (at/t.tick + 1) * t.tick }

// track adds a session, or touches it if it exists.
func (t *tracker) track(id int64, timeout int32, now time.Duration) {
	s := t.sessions[id]
	if s == nil {
		s = &session{id: id}
		t.sessions[id] = s
	}
	s.deadline, s.touched = t.round(now+millis(timeout)), t.global()
}

// The method `touch` records that a session was active. It returns false if the session is closing
// or does not exist.
func (t *tracker) touch(id int64, timeout int32, now time.Duration) bool {
	s := t.sessions[id]
	if s == nil || s.closing {
		return false
	}
	s.deadline, s.touched = t.round(now+millis(timeout)), t.global()
	return true
}

// The method `check` returns OK if the server `owner` may process a request of the session.
// Otherwise it returns the reason for the refusal. A session without an owner gets `owner` as its
// owner.
func (t *tracker) check(id int64, owner any) wire.Code {
	s := t.sessions[id]
	switch {
	case s == nil:
		return wire.UnknownSession
	case s.closing:
		return wire.SessionExpired
	case s.owner == nil:
		s.owner = owner
	case s.owner != owner:
		return wire.SessionMoved
	}
	return wire.OK
}

func (t *tracker) setOwner(id int64, owner any) wire.Code {
	s := t.sessions[id]
	if s == nil || s.closing {
		return wire.SessionExpired
	}
	s.owner = owner
	return wire.OK
}

func (t *tracker) setClosing(id int64) {
	if s := t.sessions[id]; s != nil {
		s.closing = true
	}
}

// The method `close` records that the leader proposes a transaction that closes the session.
func (t *tracker) close(id int64) {
	if s := t.sessions[id]; s != nil {
		s.closing, s.closed = true, true
	}
}

// The method `closed` reports whether the leader has already proposed a transaction that closes the
// session. A session that does not exist counts as closed.
func (t *tracker) closed(id int64) bool {
	s := t.sessions[id]
	return s == nil || s.closed
}

// poll advances by one tick, and returns the sessions whose time is over, sorted by id. They are
// not closing yet, but later activity cannot prevent their end.
func (t *tracker) poll() []Expiry {
	at := t.next
	t.next += t.tick
	var all []Expiry
	for id, s := range t.sessions {
		if s.deadline <= at && !s.closing {
			all = append(all, Expiry{Session: id, Touched: s.touched, Taken: t.global()})
		}
	}
	slices.SortFunc(all, func(a, b Expiry) int { return cmp.Compare(a.Session, b.Session) })
	return all
}

// An Expiry is a session that a leader closes because the session's timeout has passed. Touched is
// the time at which the leader last learned that the session was active. Taken is the time at which
// the leader found that the timeout had passed. Both are times of the cluster.
type Expiry struct {
	Session, Zxid  int64
	Touched, Taken time.Duration
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
