package recipe

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// A Hold covers what a session holds or waits for: a lock, a leadership, a permit or a queue item.
// One of the session's nodes represents it. From Expect or Grant on, the session renews its lease.
// From Grant on, the context of the hold proves that the session holds what the hold covers.
type Hold struct {
	inside engine.Hold
	node   Node
}

// NewHold returns a hold that node represents. The session s must have created node. The node's
// Czxid distinguishes it from a later node at the same path. A hold that only waits costs no write.
// From Expect or Grant until End the session sends heartbeats. The caller must End the hold,
// because the session keeps it until then. If the session has ended or its server is not ZooKeeper,
// the hold has ended when NewHold returns.
func NewHold(s *session.Session, node Node) *Hold {
	return &Hold{engine.Of(s).Hold(engine.Node(node)), node}
}

// Node returns the node that represents the hold.
func (h *Hold) Node() Node { return h.node }

// Describe sets the description of the hold for a session.Tracer: the name of the recipe, for
// example "lock"; the fencing token, if it is not the node's czxid; and for an item of a queue the
// Origin with which it was put. Call it before Grant. Without it the name is empty.
func (h *Hold) Describe(name string, token int64, origin string) {
	h.inside.Describe(name, token, origin)
}

// Expect prepares for a Grant that may come soon, for example because the contender is the next
// one. Without it, a Grant can take one more round trip.
func (h *Hold) Expect() { h.inside.Expect() }

// Grant waits until the lease stands, so that nobody else can be granted what the hold covers
// before the context of the hold ends. Call it when the recipe has found that it is the turn of the
// node. If ctx or the hold ends first, Grant returns the cause, and nothing is held.
func (h *Hold) Grant(ctx context.Context) error { return h.inside.Grant(ctx) }

// Context returns a context that ends as soon as it is not certain that the session still holds
// what the hold covers. The cause is session.ErrLeaseLapsed, ErrRevoked, ErrClosed,
// ErrNotZooKeeper, an error that wraps ErrUnreadable or ErrLost, or the argument of End. The
// context ends before any other client can be granted what the hold covers, under the assumptions
// of docs/decisions/0001-lease.md.
func (h *Hold) Context() context.Context { return h.inside.Context() }

// Deadline returns the instant at which the hold ends if no server answers before.
func (h *Hold) Deadline() time.Time { return h.inside.Deadline() }

// End ends the hold with the given cause, and reports whether the hold had not ended before. It
// does not delete the node. Call End before you delete the node, so that the program learns of the
// end before another client can be granted what the hold covers.
func (h *Hold) End(cause error) bool { return h.inside.End(cause) }

// Bind returns the context for work under the hold. It has the values and the deadline of ctx. It
// ends with the cause when ctx or the hold ends, whichever is first. If the hold ends, the
// goroutine that ends the hold also ends this context, and all contexts derived from this context,
// before it proceeds. So no other goroutine has to be scheduled for that, and this context ends
// before another client can be granted what the hold covers. If ctx ends, this context ends like
// every context derived from ctx.
//
// Nothing has to be released: the registration ends with the hold or with ctx.
func (h *Hold) Bind(ctx context.Context) context.Context { return h.inside.Bind(ctx) }

// Unbind returns a context for a wait for the release of the hold. A context of Bind is unsuitable
// because it ends with the release. Unbind returns the context that Bind was given, with the
// deadline of ctx. If ctx has ended or is not from Bind, Unbind returns ctx itself. Call the
// returned function when the wait is over.
func (h *Hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.inside.Unbind(ctx)
}

// OnEnd calls f with the cause when the hold ends. The goroutine that ends the hold calls f before
// it proceeds. If the hold has already ended, OnEnd calls f at once. f must not block and must not
// use the session or the hold, because the session's lock is held. OnEnd is for recipes that have
// their own contexts. All others use Bind.
func (h *Hold) OnEnd(f func(cause error)) { h.inside.OnEnd(f) }
