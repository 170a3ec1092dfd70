package lock

import (
	"context"
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// A Token is the number of a grant. Of two grants on one path, the later one has the larger Token,
// even if the path was deleted in between. It is the zxid of the transaction that created the
// contender's node (its czxid). Pass the token to the resource that the lock protects. The resource
// must refuse any token that is smaller than the largest one it has seen.
type Token int64

// A Grant is a held lock, or held permits of a semaphore.
type Grant struct {
	claim *lockqueue.Place
	path  string          // the path of the lock or semaphore
	ctx   context.Context // the context of claim, with the list of held paths
}

func newGrant(ctx context.Context, claim *lockqueue.Place, path string) *Grant {
	g := &Grant{claim: claim, path: path}
	g.ctx = g.holding(claim.Context(), ctx)
	return g
}

// Context returns a context that ends when the lock may no longer be held, before any other client
// can be granted the lock. context.Cause returns the reason: ErrReleased, session.ErrLeaseLapsed,
// session.ErrRevoked, session.ErrLost or session.ErrClosed.
//
// The context does not end with the context that Lock was called with, and does not have its
// values. For the work, use the context of Do or Bind, which is derived from the caller's context.
func (g *Grant) Context() context.Context { return g.ctx }

// Bind returns a context for work under the lock. It is for programs that call Lock and Unlock
// themselves:
//
//	defer grant.Unlock(ctx)
//	ctx = grant.Bind(ctx)
//
// The context has the values and the deadline of ctx, and ends with ctx. It also ends, with the
// cause, when the grant ends, before any other client can be granted the lock and before Unlock
// deletes the node. No call is needed to free it: its resources are freed when the grant or ctx
// ends.
//
// Lock fails with ErrDeadlock if it is called with this context on the same path.
func (g *Grant) Bind(ctx context.Context) context.Context {
	return g.holding(g.claim.Bind(ctx), ctx)
}

// Deadline returns the time at which Context ends if no server answers until then. The session
// postpones it several times in each session timeout. A program that needs some time to stop should
// read it repeatedly, and begin to stop when too little time is left. After Context has ended,
// Deadline has no meaning, because the session may renew its lease for other grants.
func (g *Grant) Deadline() time.Time { return g.claim.Deadline() }

// Token returns the grant's fencing token.
func (g *Grant) Token() Token { return Token(g.claim.Token()) }

// Path returns the path of the grant's own node.
func (g *Grant) Path() string { return g.claim.Node().Path }

// Unlock gives the lock up: the context ends, and then the node is deleted. If the lock was no
// longer held, the error is the cause for which the grant ended.
//
// ctx limits the wait for the servers' answer, but not the release. If ctx has ended, or ends
// before the answer, the error is the cause of ctx, and the session continues to delete the node
// until it is gone. Therefore defer grant.Unlock(ctx) releases the lock, no matter how ctx ended.
//
// Session.Close waits for the release, for at most a third of the session timeout. Then it ends the
// session, and the servers delete the node.
func (g *Grant) Unlock(ctx context.Context) error {
	if err := g.claim.Leave(ctx, ErrReleased); err != nil {
		return fmt.Errorf("lock: release %s: %w", g.Path(), err)
	}
	return nil
}

// Txn applies ops in one transaction. The transaction fails unless the lock is still held when the
// servers execute it, so no other holder can have written before it. The result is truthful even
// after a lost reply; the results of the ops are zero in that case. After an error,
// session.OutcomeOf reports whether the transaction was applied. The outcome is Indeterminate only
// if ctx or the session ended during the call, or if another client deleted the grant's node.
func (g *Grant) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	results, err := g.claim.Txn(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("lock: transaction under %s: %w", g.Path(), err)
	}
	return results, nil
}

// heldKey is the context key for the list of paths that are held.
type heldKey struct{}

// held is a list of held paths: the path of a grant, followed by the held paths of the context in
// which the grant was requested.
type held struct {
	claim   *lockqueue.Place
	path    string
	permits int // number of permits, for a semaphore
	more    *held
}

// holding returns ctx with a list of held paths: the path of the grant, and the held paths of the
// caller's context.
func (g *Grant) holding(ctx, caller context.Context) context.Context {
	more, _ := caller.Value(heldKey{}).(*held)
	return context.WithValue(ctx, heldKey{}, &held{claim: g.claim, path: g.path, more: more})
}

// holds reports whether ctx belongs to a grant on path in s. A grant that has ended does not count:
// ctx can outlive it. In another session, the same path may denote another node.
func holds(ctx context.Context, s *session.Session, path string) bool {
	h, _ := ctx.Value(heldKey{}).(*held)
	for ; h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			return true
		}
	}
	return false
}

// holdingPermits records that g is a grant of permits.
func (g *Grant) holdingPermits(permits int) *Grant {
	g.ctx.Value(heldKey{}).(*held).permits = permits
	return g
}

// permitsHeld returns how many permits of path in s are held by the grants that ctx belongs to. It
// ignores grants that have ended.
func permitsHeld(ctx context.Context, s *session.Session, path string) (n int) {
	h, _ := ctx.Value(heldKey{}).(*held)
	for ; h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			n += h.permits
		}
	}
	return n
}
