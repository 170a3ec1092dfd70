package recipe

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// A Hold covers what a session holds or waits for: a lock, a leadership, a permit or a queue item.
// One of the session's znodes represents the hold. From the call of Expect or Grant, the session
// renews its lease. After Grant has returned nil, the session has what the hold covers, until the
// context of the hold ends.
type Hold struct {
	inside engine.Hold
	node   Node
}

// NewHold returns a hold for a znode that the session s must have created. The node's Czxid
// distinguishes that znode from a later znode at the same path. If the session has ended or its
// server is not ZooKeeper, the returned hold has already ended.
//
// A new hold costs no writes. After Expect or Grant, the session sends heartbeats for it until End
// is called. The caller must call End, because the session keeps the hold until then.
func NewHold(s *session.Session, node Node) *Hold {
	return &Hold{begin(s, node), node}
}

// begin is a separate function so that the compiler can inline NewHold. A caller that stores the
// Hold by value then allocates nothing for it.
func begin(s *session.Session, node Node) engine.Hold { return engine.Of(s).Hold(engine.Node(node)) }

// Node returns the znode that represents the hold.
func (h *Hold) Node() Node { return h.node }

// Describe sets how Options.HoldLog and a session.Tracer describe the hold. Call Describe before
// Grant. Without Describe, the hold has an empty name.
//
// The name is the name of the recipe, for example "lock". The token is the fencing token; 0 means
// the czxid of the hold's znode. The origin is only for a hold on an item of a queue: the value
// that TraceOrigin returned when the item was put.
func (h *Hold) Describe(name string, token int64, origin string) {
	h.inside.Describe(name, token, origin)
}

// Expect prepares for a Grant that may come soon, for example when only one contender is ahead.
// Without Expect, Grant can take one round trip longer.
func (h *Hold) Expect() { h.inside.Expect() }

// Grant waits until the session has a lease, which is the proof that the servers cannot have
// expired the session yet. After Grant has returned nil, the context of the hold ends before
// anybody else can be granted what the hold covers. Call Grant when the recipe has found that it is
// the znode's turn. If ctx ends during this wait, or the hold has ended, Grant returns the cause,
// and nothing is held.
func (h *Hold) Grant(ctx context.Context) error { return h.inside.Grant(ctx) }

// Context returns a context that ends as soon as it is not certain that the session still has
// what the hold covers. It ends before any other client can be granted what the hold covers, under
// the assumptions of docs/decisions/0001-lease.md. The cause is session.ErrLeaseLapsed, ErrRevoked,
// ErrClosed, ErrNotZooKeeper, an error that wraps ErrUnreadable or ErrLost, or the argument of End.
func (h *Hold) Context() context.Context { return h.inside.Context() }

// Deadline returns the instant at which the hold ends if no server answers before that instant.
func (h *Hold) Deadline() time.Time { return h.inside.Deadline() }

// End ends the hold with the given cause. It returns false if the hold had already ended. It does
// not delete the znode. Call End before you delete the znode, so that the hold's context ends
// before another client can be granted what the hold covers.
func (h *Hold) End(cause error) bool { return h.inside.End(cause) }

// Bind returns the context for work under the hold. The context has the values and the deadline of
// ctx. It ends when ctx or the hold ends, with the cause of whichever ended first.
//
// If the hold ends, the goroutine that ends it also ends the returned context and all contexts
// derived from that. No other goroutine has to be scheduled. So the returned context ends before
// another client can be granted what the hold covers.
//
// The caller has nothing to release: the hold keeps the returned context only until the hold or ctx
// ends.
func (h *Hold) Bind(ctx context.Context) context.Context { return h.inside.Bind(ctx) }

// Unbind returns a context for a call that releases the hold and waits for the servers' answer. A
// context of Bind is unsuitable for this wait, because the release itself ends that context. Call
// the returned function when the wait is over.
//
// Unbind returns ctx itself if ctx has already ended, or if ctx neither is a context of Bind nor is
// derived from one. Otherwise, the returned context has the deadline of ctx, and ends when ctx
// ends. There is one exception: if ctx ends because the hold ends, the returned context continues.
// It then ends at its deadline, or when the context that was passed to Bind ends.
//
// The end of the hold does not end a ctx that comes from context.WithoutCancel. So for such a ctx
// the exception never applies, and the context that was passed to Bind does not limit the wait.
func (h *Hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.inside.Unbind(ctx)
}

// OnEnd calls f with the cause when the hold ends. If the hold has already ended, OnEnd calls f at
// once. The goroutine that ends the hold calls f itself, while it has mutexes of the session
// locked. So f must not block, and must not use the session or the hold. OnEnd is for recipes that
// have their own contexts. All other recipes use Bind.
func (h *Hold) OnEnd(f func(cause error)) { h.inside.OnEnd(f) }
