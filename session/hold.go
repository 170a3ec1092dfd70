package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/under"
)

// ErrRevoked means that somebody else deleted the node of a hold. Treat what
// was held as lost; the session goes on.
var ErrRevoked = errors.New("session: node deleted by somebody else")

// ErrUnreadable means that the ACL of a hold's node does not let this session
// read it, so that the session cannot notice when somebody deletes the node. Treat
// what was held as lost; the session goes on. Claiming it again will not help: give
// the session the credential that Options.ACL asks for.
var ErrUnreadable = errors.New("session: the node's ACL does not let this session read it")

// ErrNotZooKeeper means that the server gave this session no password, so that
// it cannot be resumed on another connection. ZooKeeper gives each session one;
// ClickHouse Keeper gives none. The lease is proved from ZooKeeper's sources alone,
// so nothing is granted. Connect to ZooKeeper, or set [Options.UnsafeAnyServer].
var ErrNotZooKeeper = errors.New("session: the server is not ZooKeeper: its sessions have no password")

// A hold is the claim of a session on what one of its own nodes stands for:
// a lock, a leadership, a permit. From its start the session keeps the lease
// up; from Grant on, its context is the proof of holding.
type hold struct {
	s    *Session
	node engine.Node

	ctx      context.Context
	cancel   context.CancelCauseFunc
	bound    under.Holding // the contexts of Bind
	expected bool          // it is to be granted soon, and then without a round trip more
	granted  bool
	since    time.Time
	watched  bool // the node is watched: the hold has lasted a while
	trace    trace
}

// hold begins a claim on the node n, which this session created; its Czxid tells it
// from another on the same path. While the claim only waits, it costs no write.
// From Expect or Grant until End the session sends heartbeats. On a session that
// has ended, or whose server is not ZooKeeper, the hold has ended when hold returns.
func (s *Session) hold(n engine.Node) *hold {
	h := &hold{s: s, node: n, since: time.Now()}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Err()
	if err == nil && s.foreign && !s.opts.UnsafeAnyServer {
		err = ErrNotZooKeeper
	}
	if err != nil {
		h.end(err)
		return h
	}
	s.holds[h] = struct{}{}
	s.nudge()
	return h
}

// Grant waits until the lease stands, so that nobody else can be granted the
// same while the context of the hold has not ended. Call it when the node is
// known to be the one to be served. It returns the cause for which ctx or the
// hold ended first, and then nothing is held.
func (h *hold) Grant(ctx context.Context) error {
	for {
		wait, err := h.s.grant(h)
		if wait == nil {
			if err == nil {
				h.traceGrant(ctx)
			}
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return causeOf(ctx)
		case <-h.ctx.Done():
			return causeOf(h.ctx)
		}
	}
}

// Expect prepares for a Grant that may come soon, because the contender is the
// next one for example. A Grant without it can take a round trip more.
func (h *hold) Expect() {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if !h.expected {
		h.expected = true
		h.s.nudge()
	}
}

// grant grants h, or returns what to wait for.
func (s *Session) grant(h *hold) (wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := context.Cause(h.ctx); err != nil {
		return nil, err
	}
	s.suspendedLocked()
	if s.opts.UnsafeHoldUntilLost || s.lease.stands(time.Now()) {
		h.granted = true
		s.nudge()
		return nil, nil
	}
	h.expected = true
	if s.renewal == nil {
		s.renewal = make(chan struct{})
	}
	s.nudge()
	return s.renewal, nil
}

// Context ends when what was granted is no longer held for certain, with the
// cause: ErrLeaseLapsed, ErrRevoked, an error that is ErrUnreadable or ErrLost,
// ErrClosed, ErrNotZooKeeper, or what End was given. It ends before any other client
// can be granted the same, within the assumptions of docs/decisions/0001-lease.md.
func (h *hold) Context() context.Context { return h.ctx }

// Deadline is the instant at which the hold ends if no server is heard from.
func (h *hold) Deadline() time.Time {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.s.lease.deadline
}

// End ends the hold with the given cause, and reports whether it had not
// ended before. It does not delete the node: end the hold first, so that the
// program knows before anybody else can have it.
func (h *hold) End(cause error) bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	going := h.ctx.Err() == nil
	h.s.endHoldLocked(h, cause)
	return going
}

func (s *Session) endHoldLocked(h *hold, cause error) {
	delete(s.holds, h)
	h.end(cause)
}

// end ends the hold's contexts.
func (h *hold) end(cause error) {
	h.cancel(cause)
	h.bound.End(cause)
	h.traceEndLocked(cause)
}

// endHoldsLocked ends every hold.
func (s *Session) endHoldsLocked(cause error) {
	for h := range s.holds {
		s.endHoldLocked(h, cause)
	}
}

// keep is the session's one goroutine for what happens by the clock: it
// renews the lease while anything is held or waited for, ends holds when the
// lease lapses, and gives up a session that no server serves. At the end it
// closes the client, as no hook, however slow, holds it up.
func (s *Session) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.life.Err() == nil {
		next := s.look(time.Now())
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.life.Done():
		}
	}
	s.dismiss()
}

// nudge makes the keeper look again.
func (s *Session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// look does what is due and returns how long until something may be.
func (s *Session) look(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := now.Add(s.opts.Timeout)
	if limit := s.abandonAfter(); s.current == nil && s.id != 0 && limit > 0 {
		if now.Sub(s.downSince) >= limit {
			s.finishLocked(errUnreachable(now.Sub(s.downSince)))
			return 0
		}
		next = earlier(next, s.downSince.Add(limit))
	}
	s.lapseLocked(now)
	if s.anyGrantedLocked() && !s.opts.UnsafeHoldUntilLost {
		next = earlier(next, earlier(s.lease.deadline, now.Add(s.timeout/12))) // the machine may be suspended
	}
	if s.current != nil {
		keeping := s.keepingLocked()
		if len(s.holds) > 0 {
			next = earlier(next, s.tendLocked(now, keeping))
		}
		next = earlier(next, s.beatLocked(now, keeping))
	}
	return max(next.Sub(now), 0)
}

// lapseLocked ends what was granted when the lease has lapsed. What is only
// waited for goes on: it will need a new lease to be granted.
func (s *Session) lapseLocked(now time.Time) {
	s.suspendedLocked()
	if now.Before(s.lease.deadline) || s.opts.UnsafeHoldUntilLost {
		return
	}
	lapsed := 0
	var traced context.Context // of one of them, for a log that knows traces
	for h := range s.holds {
		if h.granted {
			s.endHoldLocked(h, ErrLeaseLapsed)
			lapsed++
			traced = h.trace.ctx
		}
	}
	if lapsed > 0 {
		s.logInLocked(traced, slog.LevelWarn, "zookeeper lease lapsed", "session", hexID(s.id), "holds", lapsed, "since", s.lease.deadline)
		if s.opts.Metrics.Lapsed != nil {
			s.reportLocked(func() { s.opts.Metrics.Lapsed(lapsed) })
		}
	}
}

func (s *Session) anyGrantedLocked() bool {
	for h := range s.holds {
		if h.granted {
			return true
		}
	}
	return false
}

// tendLocked sends what the holds need now: a ping, watches. It returns when
// more may be due. Pings make the deadline later at no cost to the ensemble: a
// heartbeat proves only what was answered well before it.
func (s *Session) tendLocked(now time.Time, keeping bool) (next time.Time) {
	interval := s.timeout / 12
	if now.Sub(s.lastPing) >= interval {
		s.lastPing = now
		if keeping && !s.opts.UnsafeHoldUntilLost {
			s.work.Go(s.current.ping)
		}
		s.watchHoldsLocked(now.Add(-interval))
	}
	return s.lastPing.Add(interval)
}

// keepingLocked reports whether anything is held, or expected to be held soon.
func (s *Session) keepingLocked() bool {
	for h := range s.holds {
		if h.granted || h.expected {
			return true
		}
	}
	return false
}

// beatLocked sends a heartbeat if one is due, and returns when the next may be. A
// contender that is not expected to be granted anything soon is as good as idle.
func (s *Session) beatLocked(now time.Time, keeping bool) time.Time {
	silent := s.opts.UnsafeTrustIdle || s.opts.NoIdleLease && len(s.holds) == 0
	if s.beating || s.opts.UnsafeHoldUntilLost || silent && !keeping {
		return now.Add(s.timeout)
	}
	due, write := s.lease.renew(now, keeping)
	if due = later(due, s.beatAfter); now.Before(due) {
		return due
	}
	switch {
	case write:
		s.beating = true
		s.heartbeatLocked()
	case !s.syncing:
		s.syncLocked()
	}
	return now.Add(s.timeout)
}

// syncLocked sends what keeps an idle session ready: evidence of the way to
// the leader and back, without a write.
func (s *Session) syncLocked() {
	s.syncing = true // one at a time: they share an xid, so nothing tells their answers apart
	s.work.Go(s.current.sync)
}

// beatenLocked notes the end of a heartbeat. One that failed is not repeated
// at once.
func (s *Session) beatenLocked(err error) {
	s.beating = false
	if err != nil {
		s.beatAfter = time.Now().Add(s.timeout / spacing)
		s.logLocked(slog.LevelDebug, "zookeeper heartbeat failed", "session", hexID(s.id), "error", err)
	}
	s.nudge()
}

// maxChecks bounds the nodes that one heartbeat checks.
const maxChecks = 64

// heartbeatLocked sends a check-only multi on the nodes of holds: a quorum
// write that changes nothing, fires no watch, and fails if a node is gone, or
// if its ACL does not let this session read it.
func (s *Session) heartbeatLocked() {
	checked := make([]*hold, 0, 1)
	for h := range s.holds {
		if len(checked) == maxChecks {
			break
		}
		checked = append(checked, h)
	}
	slices.SortFunc(checked, func(a, b *hold) int { return strings.Compare(a.node.Path, b.node.Path) })
	ops := make([]any, len(checked))
	for i, h := range checked {
		ops[i] = &zk.CheckVersionRequest{Path: s.inner(h.node.Path), Version: AnyVersion}
	}
	if len(ops) == 0 { // an idle session proves that it lives
		ops = append(ops, &zk.CheckVersionRequest{Path: s.inner("/"), Version: AnyVersion})
	}
	s.work.Go(func() {
		start := time.Now()
		t := s.tickets.issue()
		defer s.tickets.void(t)
		t.markMulti(ops)
		responses, err := s.zk.Multi(ops...)
		i, part := failedPart(responses)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case errors.Is(part, zk.ErrNoNode) && i < len(checked):
			s.endHoldLocked(checked[i], ErrRevoked)
		case errors.Is(part, zk.ErrNoAuth) && i < len(checked):
			s.endHoldLocked(checked[i], fmt.Errorf("%w: %s: %w", ErrUnreadable, checked[i].node.Path, part))
		case err == nil && s.opts.Metrics.Heartbeat != nil:
			took, left := time.Since(start), time.Until(s.lease.deadline)
			s.reportLocked(func() { s.opts.Metrics.Heartbeat(took, left) })
		}
		s.beatenLocked(cmp.Or(part, err))
	})
}

// watchHoldsLocked watches the nodes of holds that began before since, so
// that a deletion by somebody else is told at once and not only by the next
// heartbeat. A short hold does not pay for the request.
func (s *Session) watchHoldsLocked(since time.Time) {
	for h := range s.holds {
		if h.watched || h.since.After(since) {
			continue
		}
		h.watched = true
		s.work.Go(func() { s.watchHold(h) })
	}
}

func (s *Session) watchHold(h *hold) {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	for {
		stat, w, err := s.ExistsWatch(ctx, h.node.Path)
		if err != nil {
			return
		}
		if !h.node.Is(stat) {
			w.Stop()
			h.End(ErrRevoked)
			return
		}
		if _, err := w.Wait(ctx); err != nil {
			return
		}
	}
}

// renewedLocked tells those who wait for the lease that it stands.
func (s *Session) renewedLocked() {
	if s.renewal != nil {
		close(s.renewal)
		s.renewal = nil
	}
}
