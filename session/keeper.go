package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A leaseKeeper manages the lease of a session and the session's holds:
//
//   - It computes the lease from the times at which packets were sent and answered. The session's
//     tap reports these times.
//   - It ends the granted holds when the lease lapses.
//   - It decides when to send which request to keep the lease. Session.keep sends these requests.
type leaseKeeper struct {
	opts    *Options
	reports *reporter
	wake    chan struct{} // contains a token when the method `look` must be called

	mu      sync.Mutex
	over    error // why the session has ended
	id      int64
	timeout time.Duration // 0 before the session began
	foreign bool          // the servers are not ZooKeeper
	line    line          // the current connection; nil while there is none
	lease   lease
	holds   map[*hold]struct{}

	sleptBefore time.Duration // value of Options.slept when a suspension last ended the lease, or at the start
	lastPing    time.Time
	beating     bool          // a heartbeat is in progress
	turn        int           // number of heartbeats that have ended
	syncing     bool          // a sync of an idle session is in progress
	beatAfter   time.Time     // earliest time of the next heartbeat or sync after a failure
	renewal     chan struct{} // closed when the lease stands again; nil while nobody waits
}

// A line is a connection on which the session can send its own pings and syncs. The session can
// also close the line.
type line interface {
	ping()
	sync()
	fail(why error) error
}

// The type `terms` has the properties of the session that the tap reports to the leaseKeeper when
// there is a new connection.
type terms struct {
	id            int64
	timeout, tick time.Duration
	foreign       bool // the server is not ZooKeeper
	fresh         bool // the connection created the session
}

func newLeaseKeeper(opts *Options, reports *reporter) *leaseKeeper {
	return &leaseKeeper{
		opts: opts, reports: reports, wake: make(chan struct{}, 1),
		holds: make(map[*hold]struct{}), sleptBefore: opts.slept(),
	}
}

// The method `connected` records a new connection, whose handshake was sent at the given time. From
// then on, only packets of this connection are new evidence for the lease.
func (k *leaseKeeper) connected(l line, sent time.Time, t terms) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line, k.id, k.timeout, k.foreign, k.syncing = l, t.id, t.timeout, t.foreign, false
	k.lease.restart(sent, t.timeout, t.tick, t.fresh)
	k.lease.trustIdle = k.opts.UnsafeTrustIdle
	if k.opts.leases != nil {
		k.opts.leases(leasetrace.Event{Kind: leasetrace.Opened, At: time.Now(), Session: t.id, Sent: sent,
			Timeout: t.timeout, Tick: t.tick, Fresh: t.fresh, Deadline: k.lease.deadline})
	}
	signal(k.wake)
}

// The method `disconnected` records the end of the connection. There is no new evidence until the
// next connection.
func (k *leaseKeeper) disconnected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line = nil
	k.lease.disconnect()
	if k.opts.leases != nil {
		k.opts.leases(leasetrace.Event{Kind: leasetrace.Closed, At: time.Now()})
	}
	signal(k.wake)
}

// A reply is the answer to a request, as the connection has read it: header and body.
type reply struct {
	op     wire.Op
	header wire.ReplyHeader
	body   []byte
}

// The method `answered` records a packet of the current connection that was sent and answered at
// the given times. The epoch in the zxid of the reply identifies the leader.
func (k *leaseKeeper) answered(p proof, sent, now time.Time, r reply) {
	if p == proofNone {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease.activity(sent, now)
	switch p {
	case proofMajority:
		// The timer may be late. So end the holds of a lapsed lease here, before the deadline can
		// move.
		k.lapseLocked(now)
		k.lease.write(sent, now, r.header.Zxid>>32)
		if k.lease.stands(now) && k.renewal != nil {
			close(k.renewal)
			k.renewal = nil
		}
	case proofLeader:
		k.lease.reached(sent, now)
	}
	if k.opts.leases != nil {
		k.traceLocked(p, sent, now, r)
	}
}

// traceLocked reports a reply and its effect on the lease.
func (k *leaseKeeper) traceLocked(p proof, sent, now time.Time, r reply) {
	e := leasetrace.Event{Kind: leasetrace.Answered, At: now, Xid: r.header.Xid, Zxid: r.header.Zxid, Code: r.header.Err,
		Proof: leasetrace.Proof(p), Sent: sent, Deadline: k.lease.deadline}
	if r.op == wire.OpMulti {
		e.Part, _ = wire.MultiError(r.body)
	}
	k.opts.leases(e)
}

// The method `synced` records the end of a sync that was requested by the method `look`.
func (k *leaseKeeper) synced(now time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.syncing = false
	k.spacedLocked(now, ok)
}

// The method `beaten` records the end of a heartbeat. The heartbeat has found the znodes of the
// given holds.
func (k *leaseKeeper) beaten(now time.Time, found []*hold, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.beating = false
	k.turn++
	for _, h := range found {
		h.checked = k.turn
	}
	if err != nil {
		k.reports.log(slog.LevelDebug, "zookeeper heartbeat failed", "session", hexID(k.id), "error", err)
	}
	k.spacedLocked(now, err == nil)
}

// spacedLocked wakes the keeper after a heartbeat or a sync. If that request failed (`ok` is
// false), the next heartbeat or sync is delayed.
func (k *leaseKeeper) spacedLocked(now time.Time, ok bool) {
	if !ok {
		k.beatAfter = now.Add(k.timeout / spacing)
	}
	signal(k.wake)
}

// The method `close` ends all holds. A hold that begins later ends at once.
func (k *leaseKeeper) close(cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = cause
	k.endAllLocked(cause)
}

// endAll ends every hold.
func (k *leaseKeeper) endAll(cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endAllLocked(cause)
}

func (k *leaseKeeper) endAllLocked(cause error) {
	for h := range k.holds {
		k.endLocked(h, cause)
	}
}

func (k *leaseKeeper) endLocked(h *hold, cause error) {
	_, held := k.holds[h]
	delete(k.holds, h)
	h.finish(cause)
	if k.opts.leases != nil && held {
		k.opts.leases(leasetrace.Event{Kind: leasetrace.Ended, At: time.Now(), Hold: h, Path: h.node.Path, Cause: cause})
	}
}

// The method `end` implements hold.End.
func (k *leaseKeeper) end(h *hold, cause error) (going bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	going = h.ctx.Err() == nil
	k.endLocked(h, cause)
	return going
}

// begin begins a hold on a znode of this session. The returned hold has already ended if the
// session has ended, or if the server is not ZooKeeper and Options.UnsafeAnyServer is not set.
func (k *leaseKeeper) begin(n engine.Node) *hold {
	h := newHold(k, n)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.over != nil:
		h.finish(k.over)
	case k.foreign && !k.opts.UnsafeAnyServer:
		h.finish(ErrNotZooKeeper)
	default:
		h.checked = k.turn
		k.holds[h] = struct{}{}
		k.traceHoldLocked(leasetrace.Waiting, h)
		signal(k.wake)
	}
	return h
}

// The method `expect` implements hold.Expect.
func (k *leaseKeeper) expect(h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expectLocked(h)
}

func (k *leaseKeeper) expectLocked(h *hold) {
	if h.expected {
		return
	}
	h.expected = true
	k.traceHoldLocked(leasetrace.Expected, h)
	signal(k.wake)
}

func (k *leaseKeeper) traceHoldLocked(kind leasetrace.Kind, h *hold) {
	if k.opts.leases != nil {
		k.opts.leases(leasetrace.Event{Kind: kind, At: time.Now(), Hold: h, Path: h.node.Path})
	}
}

// The method `grant` grants h if the lease stands. With Options.UnsafeHoldUntilLost, the method
// grants h even if no lease stands. If the method does not grant h, it returns one of two values:
//
//   - If h has ended, `err` is the cause of that end.
//   - Otherwise, `wait` is a channel that is closed when the lease stands again.
func (k *leaseKeeper) grant(h *hold, now time.Time) (wait <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, causeOf(h.ctx)
	}
	k.suspendedLocked()
	signal(k.wake)
	if k.opts.UnsafeHoldUntilLost || k.lease.stands(now) {
		h.granted = true
		if k.opts.leases != nil {
			k.opts.leases(leasetrace.Event{Kind: leasetrace.Granted, At: now, Hold: h, Path: h.node.Path, Deadline: k.lease.deadline})
		}
		return nil, nil
	}
	k.expectLocked(h)
	if k.renewal == nil {
		k.renewal = make(chan struct{})
	}
	return k.renewal, nil
}

// The method `deadline` returns the time at which the lease lapses if no server answers before that
// time.
func (k *leaseKeeper) deadline() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease.deadline
}

// The type `chores` describes the work that is due now to keep the lease.
type chores struct {
	line  line    // the connection to use; nil if there is none, or if the session has ended
	drop  bool    // close the line: later answers on it prove nothing
	ping  bool    // send a ping
	sync  bool    // send a sync
	beat  bool    // send a heartbeat
	check []*hold // the holds whose znodes the heartbeat checks
	watch []*hold // the holds whose znodes are watched from now on

	next time.Time // the latest time for the next call of `look`
}

// The method `look` ends the granted holds if the lease has lapsed. It returns the work that is
// due.
func (k *leaseKeeper) look(now time.Time) chores {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lapseLocked(now)
	due := chores{next: now.Add(k.opts.Timeout)}
	if k.anyLocked(func(h *hold) bool { return h.granted }) && !k.opts.UnsafeHoldUntilLost {
		// Check often, because some timers do not count the time for which the machine was
		// suspended. With such a timer, a long wait could end long after the deadline.
		due.next = times.Earlier(due.next, times.Earlier(k.lease.deadline, now.Add(k.timeout/12)))
	}
	switch {
	case k.line == nil || k.over != nil:
		return due
	case !k.lease.connected:
		due.line, due.drop = k.line, true
		return due
	}
	due.line = k.line
	keeping := k.anyLocked(func(h *hold) bool { return h.granted || h.expected })
	if len(k.holds) > 0 {
		k.tendLocked(&due, now, keeping)
	}
	k.beatLocked(&due, now, keeping)
	return due
}

func (k *leaseKeeper) anyLocked(is func(*hold) bool) bool {
	for h := range k.holds {
		if is(h) {
			return true
		}
	}
	return false
}

// tendLocked adds a ping to the chores if one is due. It also adds the holds whose znodes the
// session must begin to watch.
//
// A heartbeat proves that the leader has received an earlier activity of the session, but only if
// the activity was answered well before the heartbeat was sent. Pings provide this activity, and
// cost the ensemble no write.
//
// If a hold has lasted a while, its znode is watched. So if another client deletes the znode, the
// session notices this at once, and not only with the next heartbeat. A short hold costs no request
// for a watch.
func (k *leaseKeeper) tendLocked(due *chores, now time.Time, keeping bool) {
	interval := k.timeout / 12
	if now.Sub(k.lastPing) >= interval {
		k.lastPing = now
		due.ping = keeping && !k.opts.UnsafeHoldUntilLost
		for h := range k.holds {
			if !h.watched && !h.since.After(now.Add(-interval)) {
				h.watched = true
				due.watch = append(due.watch, h)
			}
		}
	}
	due.next = times.Earlier(due.next, k.lastPing.Add(interval))
}

// maxChecks is the largest number of znodes that one heartbeat checks. If a session has more holds,
// its heartbeats check their znodes in turn.
const maxChecks = 64

// beatLocked adds a heartbeat or a sync to the chores if one is due. If `keeping` is false, the
// session counts as idle: it holds nothing and expects no grant soon, although it may wait for a
// lock.
//
// Syncs keep an idle session ready without a write: they prove that the path to the leader and back
// is open. All these syncs have the same xid, so the session could not distinguish the answers to
// several syncs. Therefore only one sync is in progress at a time.
func (k *leaseKeeper) beatLocked(due *chores, now time.Time, keeping bool) {
	silent := k.opts.UnsafeTrustIdle || k.opts.NoIdleLease && len(k.holds) == 0
	if k.beating || k.opts.UnsafeHoldUntilLost || silent && !keeping {
		due.next = times.Earlier(due.next, now.Add(k.timeout))
		return
	}
	at, write := k.lease.renew(now, keeping)
	if at = times.Later(at, k.beatAfter); now.Before(at) {
		due.next = times.Earlier(due.next, at)
		return
	}
	due.next = times.Earlier(due.next, now.Add(k.timeout))
	if !write {
		due.sync = !k.syncing
		k.syncing = true
		return
	}
	k.beating, due.beat = true, true
	if k.opts.leases != nil {
		k.opts.leases(leasetrace.Event{Kind: leasetrace.Heartbeat, At: now})
	}
	due.check = slices.SortedFunc(maps.Keys(k.holds), func(a, b *hold) int {
		return cmp.Or(cmp.Compare(a.checked, b.checked), strings.Compare(a.node.Path, b.node.Path))
	})
	due.check = due.check[:min(len(due.check), maxChecks)]
}

// lapseLocked ends the granted holds if the lease has lapsed. Holds that only wait continue, and
// can be granted only under a new lease.
func (k *leaseKeeper) lapseLocked(now time.Time) {
	k.suspendedLocked()
	if now.Before(k.lease.deadline) || k.opts.UnsafeHoldUntilLost {
		return
	}
	lapsed, traced := k.endGrantedLocked(ErrLeaseLapsed)
	if lapsed == 0 {
		return
	}
	k.reports.logIn(traced, slog.LevelWarn, "zookeeper lease lapsed", "session", hexID(k.id), "holds", lapsed, "since", k.lease.deadline)
	if k.opts.Metrics.Lapsed != nil {
		k.reports.add(func() { k.opts.Metrics.Lapsed(lapsed) })
	}
}

// endGrantedLocked ends the granted holds. It returns their number. For the log, it also returns
// the context of one of them, or nil if the holds are not traced.
func (k *leaseKeeper) endGrantedLocked(cause error) (n int, traced context.Context) {
	for h := range k.holds {
		if h.granted {
			k.endLocked(h, cause)
			n++
			traced = h.trace.ctx
		}
	}
	return n, traced
}

// The lease is computed with Go's monotonic clock. On most systems this clock stops while the
// machine is suspended, but the servers' clocks continue. So by this clock, the lease would still
// stand after the resume, although the session may have expired. Therefore the keeper also reads a
// clock that does not stop, and drops the lease after a suspension.
//
// A gap remains: after the resume, the program still counts as holding until the keeper's next
// check. This check comes at most a twelfth of the session timeout later. If a hypervisor stops a
// virtual machine with all of its clocks, the session cannot detect that.

// errSuspended is the reason for closing a connection after a suspension. A packet that was sent
// before the suspension and answered after it proves nothing, because its age is unknown.
var errSuspended = errors.New("the machine was suspended")

// suspendedLocked ends the lease and the granted holds if the machine was suspended for a fortieth
// of the session timeout or longer. The lease's margin covers shorter suspensions, until their sum
// reaches a fortieth of the session timeout.
func (k *leaseKeeper) suspendedLocked() {
	if k.opts.UnsafeHoldUntilLost || k.timeout == 0 {
		return
	}
	slept := k.opts.slept()
	missed := slept - k.sleptBefore
	if missed < k.timeout/40 {
		return
	}
	k.sleptBefore = slept
	k.lease.suspended()
	k.reports.log(slog.LevelWarn, "machine was suspended: no lease stands", "session", hexID(k.id), "for", missed)
	k.endGrantedLocked(fmt.Errorf("%w: %w for %v", ErrLeaseLapsed, errSuspended, missed))
	signal(k.wake) // the connection must be dropped
}
