package session

import (
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/under"
)

// ErrRevoked means that another client deleted the znode of a hold. Treat the grant as lost. The
// session continues.
var ErrRevoked = errors.New("session: znode deleted by somebody else")

// ErrUnreadable means that the ACL of a hold's znode does not let this session read the znode, so
// the session cannot notice that another client deletes it. Treat the grant as lost. The session
// continues. Acquiring again does not help: give the session the credential that Options.ACL
// requires.
var ErrUnreadable = errors.New("session: the znode's ACL does not let this session read it")

// ErrNotZooKeeper means that the server gave this session no password, so the session cannot be
// resumed on another connection. ZooKeeper gives each session a password; ClickHouse Keeper gives
// none. The proof of the lease is based on ZooKeeper's sources, so nothing is granted on other
// servers. Connect to ZooKeeper, or set [Options.UnsafeAnyServer].
var ErrNotZooKeeper = errors.New("session: the server is not ZooKeeper: its sessions have no password")

// A hold covers what a session holds or waits for: a lock, a leadership, a permit or a queue item.
// One of the session's znodes represents the hold. A hold that only waits costs no write. After the
// call of Expect or Grant, and until the hold ends, the session renews its lease with heartbeats.
// Once Grant has returned nil, the session has the lock (or leadership, permit, item) until the
// context of the hold ends.
type hold struct {
	keeper *leaseKeeper
	node   engine.Node

	ctx    context.Context
	cancel context.CancelCauseFunc
	bound  under.Holding // the contexts of Bind
	since  time.Time

	// Guarded by the keeper's mu.
	expected bool // Expect or Grant was called, so the session renews its lease
	granted  bool
	checked  int   // leaseKeeper.turn when a heartbeat last found the znode, or when the hold began
	watched  bool  // the znode is watched, because the hold has lasted a while
	trace    trace // its field `step` is set before Grant, without mu
}

// newHold returns a hold on the znode n, which the session created. The field Czxid of n
// distinguishes this znode from a later znode at the same path.
func newHold(k *leaseKeeper, n engine.Node) *hold {
	h := &hold{keeper: k, node: n, since: time.Now()}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Grant waits until the lease stands. From then until the context of the hold ends, nobody else can
// be granted what the hold covers. A recipe calls Grant when it has found that the turn of the
// hold's znode has come. If ctx or the hold ends first, Grant returns the cause, and nothing is
// held.
func (h *hold) Grant(ctx context.Context) error {
	for {
		wait, err := h.keeper.grant(h, time.Now())
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

// Expect prepares for a Grant that may come soon, for example because the contender is the next in
// the lock queue. Without Expect, a Grant can take one more round trip.
func (h *hold) Expect() { h.keeper.expect(h) }

// Context returns a context that ends as soon as it is not certain that the session still holds
// what the hold covers. The cause is the argument of End or one of these errors: ErrRevoked,
// ErrClosed, ErrNotZooKeeper, or an error that is or wraps ErrLeaseLapsed, ErrUnreadable or
// ErrLost. The context ends before any other client can be granted what the hold covers, under the
// assumptions of docs/decisions/0001-lease.md.
func (h *hold) Context() context.Context { return h.ctx }

// Deadline returns the instant at which the hold ends if no server answers before that instant.
func (h *hold) Deadline() time.Time { return h.keeper.deadline() }

// End ends the hold with the given cause. It returns false if the hold had already ended. End does
// not delete the znode of the hold. Call End before you delete the znode, so that the program
// learns of the end before another client can be granted what the hold covers.
func (h *hold) End(cause error) bool { return h.keeper.end(h, cause) }

// finish ends the contexts of the hold. The caller holds the keeper's mu.
func (h *hold) finish(cause error) {
	h.cancel(cause)
	h.bound.End(cause)
	h.traceEndLocked(cause)
}

// Bind returns the context for work under the hold. This context has the values and the deadline of
// ctx. It ends when ctx or the hold ends, with the cause of the one that ended first.
//
// The goroutine that ends the hold also ends this context and all contexts derived from it, without
// waiting for another goroutine. So this context ends before another client can be granted what the
// hold covers.
//
// The caller has nothing to release: the hold keeps this context only until the hold or ctx ends.
func (h *hold) Bind(ctx context.Context) context.Context { return h.bound.Bind(ctx) }

// Unbind returns a context with which to wait until the hold is released. A context that Bind
// returned is unsuitable for this wait, because the release ends that context. Call the returned
// function when the wait is over.
//
// Unbind returns ctx itself if ctx has ended, or if ctx is not derived from a context of Bind.
// Otherwise, the returned context ends when ctx ends, with one exception: if ctx ends because the
// hold ends, the returned context continues, so that the program can still wait for the release.
// From then on, it ends at the deadline of ctx, or when the context that was passed to Bind ends.
//
// This exception never applies if ctx comes from context.WithoutCancel, because the hold does not
// end such a ctx. So the returned context ends when ctx ends, and not when the context that was
// passed to Bind ends.
func (h *hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.bound.Unbind(ctx)
}

// OnEnd calls f with the cause when the hold ends. The goroutine that ends the hold calls f itself,
// and continues when f has returned. If the hold has already ended, OnEnd calls f at once. f must
// not block and must not use the session or the hold, because the session's mutexes are locked
// during the call. OnEnd is for recipes that have their own contexts. All other recipes use Bind.
func (h *hold) OnEnd(f func(cause error)) { h.bound.OnEnd(f) }
