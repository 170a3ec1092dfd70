package session

import (
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/under"
)

// ErrRevoked means that another client deleted the node of a hold. Treat the grant as lost. The
// session continues.
var ErrRevoked = errors.New("session: node deleted by somebody else")

// ErrUnreadable means that the ACL of a hold's node does not let this session read the node, so the
// session cannot notice that another client deletes it. Treat the grant as lost. The session
// continues. Acquiring again does not help: give the session the credential that Options.ACL
// requires.
var ErrUnreadable = errors.New("session: the node's ACL does not let this session read it")

// ErrNotZooKeeper means that the server gave this session no password, so the session cannot be
// resumed on another connection. ZooKeeper gives each session a password; ClickHouse Keeper gives
// none. The proof of the lease rests on ZooKeeper's sources, so nothing is granted on other
// servers. Connect to ZooKeeper, or set [Options.UnsafeAnyServer].
var ErrNotZooKeeper = errors.New("session: the server is not ZooKeeper: its sessions have no password")

// A hold covers what a session holds or waits for: a lock, a leadership, a permit or a queue item.
// One of the session's nodes represents it. A hold that only waits costs no write. From Expect or
// Grant until End, the session renews its lease with heartbeats. From Grant on, the context proves
// that the session holds what the hold covers.
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
	watched  bool // the node is watched: the hold has lasted a while
	trace    trace
}

// newHold returns a hold on the node n, which the session created. The Czxid distinguishes the node
// from a later one at the same path.
func newHold(k *leaseKeeper, n engine.Node) *hold {
	h := &hold{keeper: k, node: n, since: time.Now()}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Grant waits until the lease stands, so that nobody else can be granted what the hold covers
// before the context of the hold ends. Call it when the recipe has found that it is the turn of the
// node. If ctx or the hold ends first, Grant returns the cause, and nothing is held.
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

// Expect prepares for a Grant that may come soon, for example because the contender is the next
// one. Without it, a Grant can take one more round trip.
func (h *hold) Expect() { h.keeper.expect(h) }

// Context returns a context that ends as soon as it is not certain that the session still holds
// what the hold covers. The cause is ErrLeaseLapsed, ErrRevoked, ErrClosed, ErrNotZooKeeper, an
// error that wraps ErrUnreadable or ErrLost, or the argument of End. The context ends before any
// other client can be granted what the hold covers, under the assumptions of
// docs/decisions/0001-lease.md.
func (h *hold) Context() context.Context { return h.ctx }

// Deadline returns the instant at which the hold ends if no server answers before.
func (h *hold) Deadline() time.Time { return h.keeper.deadline() }

// End ends the hold with the given cause, and reports whether the hold had not ended before. It
// does not delete the node. Call End before you delete the node, so that the program learns of the
// end before another client can be granted what the hold covers.
func (h *hold) End(cause error) bool { return h.keeper.end(h, cause) }

// finish ends the contexts of the hold. The caller holds the keeper's mu.
func (h *hold) finish(cause error) {
	h.cancel(cause)
	h.bound.End(cause)
	h.traceEndLocked(cause)
}

// Bind returns the context for work under the hold. It has the values and the deadline of ctx. It
// ends with the cause when ctx or the hold ends, whichever is first. If the hold ends, the
// goroutine that ends the hold also ends this context, and all contexts derived from this context,
// before it proceeds. So no other goroutine has to be scheduled for that, and this context ends
// before another client can be granted what the hold covers. If ctx ends, this context ends like
// every context derived from ctx.
//
// Nothing has to be released: the registration ends with the hold or with ctx.
func (h *hold) Bind(ctx context.Context) context.Context { return h.bound.Bind(ctx) }

// Unbind returns a context for a wait for the release of the hold. A context of Bind is unsuitable
// because it ends with the release. Unbind returns the context that Bind was given, with the
// deadline of ctx. If ctx has ended or is not from Bind, Unbind returns ctx itself. Call the
// returned function when the wait is over.
func (h *hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.bound.Unbind(ctx)
}

// OnEnd calls f with the cause when the hold ends. The goroutine that ends the hold calls f before
// it proceeds. If the hold has already ended, OnEnd calls f at once. f must not block and must not
// use the session or the hold, because locks of the session are held. OnEnd is for recipes that
// have their own contexts. All others use Bind.
func (h *hold) OnEnd(f func(cause error)) { h.bound.OnEnd(f) }
