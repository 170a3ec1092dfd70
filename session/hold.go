package session

import (
	"context"
	"errors"
	"time"

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
// a lock, a leadership, a permit. While it only waits, it costs no write. From Expect
// or Grant until End the session keeps the lease up with heartbeats; from Grant on, its
// context is the proof of holding.
type hold struct {
	keeper *leaseKeeper
	node   engine.Node

	ctx    context.Context
	cancel context.CancelCauseFunc
	bound  under.Holding // the contexts of Bind
	since  time.Time

	// Guarded by the keeper's mu.
	expected bool // it is to be granted soon, and then without a round trip more
	granted  bool
	watched  bool // the node is watched: the hold has lasted a while
	trace    trace
}

// newHold returns a hold on the node n, which the session created; its Czxid tells it
// from another on the same path.
func newHold(k *leaseKeeper, n engine.Node) *hold {
	h := &hold{keeper: k, node: n, since: time.Now()}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Grant waits until the lease stands, so that nobody else can be granted the
// same while the context of the hold has not ended. Call it when the node is
// known to be the one to be served. It returns the cause for which ctx or the
// hold ended first, and then nothing is held.
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

// Expect prepares for a Grant that may come soon, because the contender is the
// next one for example. A Grant without it can take a round trip more.
func (h *hold) Expect() { h.keeper.expect(h) }

// Context ends when what was granted is no longer held for certain, with the
// cause: ErrLeaseLapsed, ErrRevoked, an error that is ErrUnreadable or ErrLost,
// ErrClosed, ErrNotZooKeeper, or what End was given. It ends before any other client
// can be granted the same, within the assumptions of docs/decisions/0001-lease.md.
func (h *hold) Context() context.Context { return h.ctx }

// Deadline is the instant at which the hold ends if no server is heard from.
func (h *hold) Deadline() time.Time { return h.keeper.deadline() }

// End ends the hold with the given cause, and reports whether it had not
// ended before. It does not delete the node: end the hold first, so that the
// program knows before anybody else can have it.
func (h *hold) End(cause error) bool { return h.keeper.end(h, cause) }

// finish ends the hold's contexts. The keeper's mu is held.
func (h *hold) finish(cause error) {
	h.cancel(cause)
	h.bound.End(cause)
	h.traceEndLocked(cause)
}

// Bind returns the context for work under the hold. It has the values and the
// deadline of ctx, and ends with the cause when ctx or the hold ends, whichever
// is first. End and the keeper of the lease end it themselves, and what is
// derived from it, before they go on: no goroutine has to be scheduled for that,
// and no other client can be granted the same before. When ctx ends, it ends as
// every context derived from ctx.
//
// Nothing has to be released: what Bind registers goes when the hold ends, or
// when ctx does.
func (h *hold) Bind(ctx context.Context) context.Context { return h.bound.Bind(ctx) }

// Unbind returns what ends a wait for the release of the hold. A context of Bind
// ends with the release, so it cannot: Unbind returns the one that Bind was given,
// with the deadline that ctx has. A context that has ended, or that is not of Bind,
// is returned as it is. Call the function when the wait is over.
func (h *hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.bound.Unbind(ctx)
}

// OnEnd has f called with the cause when the hold ends, by the goroutine that
// ends it, before it goes on; or at once if the hold has ended. f must not block
// and must not use the session or the hold: locks of the session are held. It is for
// recipes with contexts of their own; everybody else uses Bind.
func (h *hold) OnEnd(f func(cause error)) { h.bound.OnEnd(f) }
