package recipe

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// A Hold is the claim of a session on what one of its own nodes stands for: a lock, a
// leadership, a permit. From Expect or Grant on the session keeps the lease up. From
// Grant on, the hold's context is the proof of holding.
type Hold struct {
	inside engine.Hold
	node   Node
}

// NewHold begins a claim on node, which s created; its Czxid tells it from another on the
// same path. While the claim only waits, it costs no write. From Expect or Grant until End
// the session sends heartbeats. End the hold: the session keeps it until then. On a
// session that has ended, or whose server is not ZooKeeper, the hold has ended when
// NewHold returns.
func NewHold(s *session.Session, node Node) *Hold {
	return &Hold{engine.Of(s).Hold(engine.Node(node)), node}
}

// Node is the node that the hold stands on.
func (h *Hold) Node() Node { return h.node }

// Describe says what the hold is, for a session.Tracer: the name of the recipe, "lock"
// for instance; the fencing token, if it is not the node's czxid; and for an item of a
// queue the Origin with which it was put. Call it before Grant. Without it the name is
// empty.
func (h *Hold) Describe(name string, token int64, origin string) {
	h.inside.Describe(name, token, origin)
}

// Expect prepares for a Grant that may come soon, because the contender is the next one
// for example. A Grant without it can take a round trip more.
func (h *Hold) Expect() { h.inside.Expect() }

// Grant waits until the lease stands, so that nobody else can be granted the same while
// the context of the hold has not ended. Call it when the node is known to be the one to
// be served. It returns the cause for which ctx or the hold ended first, and then nothing
// is held.
func (h *Hold) Grant(ctx context.Context) error { return h.inside.Grant(ctx) }

// Context ends when what was granted is no longer held for certain, with the cause:
// session.ErrLeaseLapsed, ErrRevoked, an error that is ErrUnreadable or ErrLost,
// ErrClosed, ErrNotZooKeeper, or what End was given. It ends before any other client can be granted the
// same, within the assumptions of docs/decisions/0001-lease.md.
func (h *Hold) Context() context.Context { return h.inside.Context() }

// Deadline is the instant at which the hold ends if no server is heard from.
func (h *Hold) Deadline() time.Time { return h.inside.Deadline() }

// End ends the hold with the given cause, and reports whether it had not ended before. It
// does not delete the node: end the hold first, so that the program knows before anybody
// else can have it.
func (h *Hold) End(cause error) bool { return h.inside.End(cause) }

// Bind returns the context for work under the hold. It has the values and the deadline of
// ctx, and ends with the cause when ctx or the hold ends, whichever is first. End and the
// keeper of the lease end it themselves, and what is derived from it, before they go on:
// no goroutine has to be scheduled for that, and no other client can be granted the same
// before. When ctx ends, it ends like every context derived from ctx.
//
// Nothing has to be released: what Bind registers goes when the hold ends, or when ctx
// does.
func (h *Hold) Bind(ctx context.Context) context.Context { return h.inside.Bind(ctx) }

// Unbind returns what ends a wait for the release of the hold. A context of Bind ends with
// the release, so it cannot: Unbind returns the one that Bind was given, with the deadline
// that ctx has. A context that has ended, or that is not of Bind, is returned unchanged.
// Call the function when the wait is over.
func (h *Hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.inside.Unbind(ctx)
}

// OnEnd has f called with the cause when the hold ends, by the goroutine that ends it,
// before it goes on; or at once if the hold has ended. f must not block and must not use
// the session or the hold: the session's lock is held. It is for recipes with contexts of
// their own; everybody else uses Bind.
func (h *Hold) OnEnd(f func(cause error)) { h.inside.OnEnd(f) }
