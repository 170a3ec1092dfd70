package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// A leaseKeeper has the holds of a session and its lease. It gets the evidence from
// the tap, ends holds when the lease lapses, and says what is to be sent to keep the
// lease up. It sends nothing itself: see keep.
type leaseKeeper struct {
	opts    *Options
	reports *reporter
	wake    chan struct{} // holds one token when look has to be called

	mu      sync.Mutex
	over    error // why the session is over
	id      int64
	timeout time.Duration // 0 before the session began
	foreign bool          // the servers are not ZooKeeper
	line    line          // of the present connection; nil while there is none
	lease   lease
	holds   map[*hold]struct{}

	sleptBefore time.Duration // what Options.slept had counted when no lease rested on it
	lastPing    time.Time
	beating     bool          // a heartbeat is under way
	syncing     bool          // a sync of an idle session is
	beatAfter   time.Time     // the last one failed: not before this
	renewal     chan struct{} // closed when the lease stands again; nil while nobody waits
}

// A line is a connection, for requests of the session's own.
type line interface {
	ping()
	sync()
	fail(why error) error
}

// A terms is what a connection says of the session.
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

// connected begins the evidence of a connection whose handshake was sent at the given
// time.
func (k *leaseKeeper) connected(l line, sent time.Time, t terms) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line, k.id, k.timeout, k.foreign, k.syncing = l, t.id, t.timeout, t.foreign, false
	k.lease.restart(sent, t.timeout, t.tick, t.fresh)
	k.lease.trustIdle = k.opts.UnsafeTrustIdle
	signal(k.wake)
}

// disconnected ends the evidence of the connection.
func (k *leaseKeeper) disconnected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line = nil
	k.lease.disconnect()
	signal(k.wake)
}

// answered takes the evidence of a packet that was sent and answered at the given
// times on the present connection; epoch is that of the leader, if the packet proves
// anything of one.
func (k *leaseKeeper) answered(p proof, sent, now time.Time, epoch int64) {
	if p == proofNone {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease.activity(sent, now)
	switch p {
	case proofMajority:
		k.lapseLocked(now) // before the deadline can move: look may be late
		k.lease.write(sent, now, epoch)
		if k.lease.stands(now) && k.renewal != nil {
			close(k.renewal)
			k.renewal = nil
		}
	case proofLeader:
		k.lease.reached(sent, now)
	}
}

// synced notes the end of a sync that look has asked for.
func (k *leaseKeeper) synced(now time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.syncing = false
	k.spacedLocked(now, ok)
}

// beaten notes the end of a heartbeat.
func (k *leaseKeeper) beaten(now time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.beating = false
	if err != nil {
		k.reports.log(slog.LevelDebug, "zookeeper heartbeat failed", "session", hexID(k.id), "error", err)
	}
	k.spacedLocked(now, err == nil)
}

// spacedLocked sees to it that what failed is not repeated at once.
func (k *leaseKeeper) spacedLocked(now time.Time, ok bool) {
	if !ok {
		k.beatAfter = now.Add(k.timeout / spacing)
	}
	signal(k.wake)
}

// close ends every hold, and those that are still to begin.
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
	delete(k.holds, h)
	h.finish(cause)
}

// end is hold.End.
func (k *leaseKeeper) end(h *hold, cause error) (going bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	going = h.ctx.Err() == nil
	k.endLocked(h, cause)
	return going
}

// begin begins a hold on a node of this session. On a session that has ended, or
// whose server is not ZooKeeper, the hold has ended when begin returns.
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
		k.holds[h] = struct{}{}
		signal(k.wake)
	}
	return h
}

// expect is hold.Expect.
func (k *leaseKeeper) expect(h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !h.expected {
		h.expected = true
		signal(k.wake)
	}
}

// grant grants h, or returns what to wait for.
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
		return nil, nil
	}
	h.expected = true
	if k.renewal == nil {
		k.renewal = make(chan struct{})
	}
	return k.renewal, nil
}

// deadline is when the lease lapses if no server is heard from.
func (k *leaseKeeper) deadline() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease.deadline
}

// chores is what is to be done now to keep the lease up.
type chores struct {
	line  line    // the connection that is meant; nil if there is nothing to send
	drop  bool    // close it: nothing that is answered on it proves anything
	ping  bool    // send a ping
	sync  bool    // send a sync
	beat  bool    // send a heartbeat
	check []*hold // whose nodes the heartbeat checks
	watch []*hold // whose nodes are to be watched from now on

	next time.Time // when look has to be called again, at the latest
}

// look ends what has lapsed and returns what is due.
func (k *leaseKeeper) look(now time.Time) chores {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lapseLocked(now)
	due := chores{next: now.Add(k.opts.Timeout)}
	if k.anyLocked(func(h *hold) bool { return h.granted }) && !k.opts.UnsafeHoldUntilLost {
		due.next = earlier(due.next, earlier(k.lease.deadline, now.Add(k.timeout/12))) // the machine may be suspended
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

// tendLocked adds what the holds need now: a ping, watches. Pings make the deadline
// later at no cost to the ensemble: a heartbeat proves only what was answered well
// before it.
//
// The nodes of holds that have lasted a while are watched, so that a deletion by
// somebody else is told at once and not only by the next heartbeat. A short hold
// does not pay for the request.
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
	due.next = earlier(due.next, k.lastPing.Add(interval))
}

// maxChecks bounds the nodes that one heartbeat checks.
const maxChecks = 64

// beatLocked adds a heartbeat if one is due. A contender that is not expected to be
// granted anything soon is as good as idle.
//
// What keeps an idle session ready is a sync: evidence of the way to the leader and
// back, without a write. One goes at a time: they share an xid, so nothing tells
// their answers apart.
func (k *leaseKeeper) beatLocked(due *chores, now time.Time, keeping bool) {
	silent := k.opts.UnsafeTrustIdle || k.opts.NoIdleLease && len(k.holds) == 0
	if k.beating || k.opts.UnsafeHoldUntilLost || silent && !keeping {
		due.next = earlier(due.next, now.Add(k.timeout))
		return
	}
	at, write := k.lease.renew(now, keeping)
	if at = later(at, k.beatAfter); now.Before(at) {
		due.next = earlier(due.next, at)
		return
	}
	due.next = earlier(due.next, now.Add(k.timeout))
	if !write {
		due.sync = !k.syncing
		k.syncing = true
		return
	}
	k.beating, due.beat = true, true
	for h := range k.holds {
		if len(due.check) == maxChecks {
			break
		}
		due.check = append(due.check, h)
	}
	slices.SortFunc(due.check, func(a, b *hold) int { return strings.Compare(a.node.Path, b.node.Path) })
}

// lapseLocked ends what was granted when the lease has lapsed. What is only
// waited for goes on: it will need a new lease to be granted.
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

// endGrantedLocked ends what is granted. It returns how many holds that were, and the
// context of one of them, for the log; nil if there is none with a trace.
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

// Go's monotonic clock, on which the lease rests, stands still while a machine is
// suspended on most systems. The servers' clocks go on: a session of 10 s expires
// while a laptop sleeps for a minute, and after the resume its lease would stand for
// the seconds that were left. So the keeper compares two clocks of which one goes on,
// and drops the lease when the machine was suspended.
//
// What remains: between the resume and the keeper's next look, a twelfth of the
// session timeout at most, the program still counts as holding. A hypervisor that
// stops a virtual machine with all of its clocks cannot be noticed from inside.

// errSuspended is why a connection is closed after a suspension: what was sent
// before and is answered after it proves nothing, as its age is not known.
var errSuspended = errors.New("the machine was suspended")

// suspendedLocked ends what was granted if the machine has been suspended since it
// was last called, for longer than the margin for clocks covers.
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
	signal(k.wake) // the connection is to be dropped
}
