package lock

import (
	"context"
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// A Token is the number of a grant. Of two grants on one path, the later one has the larger Token,
// even if the path was deleted in between. The number is the zxid of the transaction that created
// the contender's znode (the czxid of the znode). Pass the token to the resource that the lock
// protects. The resource must refuse any token that is smaller than the largest one it has seen.
type Token int64

// A Grant is a held lock, or held permits of a semaphore.
type Grant struct {
	held
	ctx context.Context // the context of the field `claim`, with the list of held paths
}

func newGrant(ctx context.Context, claim *lockqueue.Place, path string) *Grant {
	g := &Grant{held: held{claim: claim, path: path, more: heldIn(ctx)}}
	g.ctx = context.WithValue(claim.Context(), heldKey{}, &g.held)
	return g
}

// Context returns a context that ends when it is no longer certain that the lock is held, before
// any other client can be granted the lock. context.Cause returns the reason, which is or wraps
// ErrReleased, session.ErrLeaseLapsed, session.ErrRevoked, session.ErrUnreadable, session.ErrLost
// or session.ErrClosed.
//
// The returned context does not end with the context that was passed to Lock, and does not have the
// values of that context. For the work, use the context of Do or Bind, which is derived from the
// caller's context.
func (g *Grant) Context() context.Context { return g.ctx }

// Bind returns a context for work that needs the lock. It is for programs that call Lock and Unlock
// themselves:
//
//	defer grant.Unlock(ctx)
//	ctx = grant.Bind(ctx)
//
// The context has the values and the deadline of ctx, and ends with ctx. It also ends, with the
// cause, when the grant ends, before any other client can be granted the lock and before Unlock
// deletes the znode. No call is needed to free the context: its resources are freed when the grant
// or ctx ends.
//
// Lock fails with ErrDeadlock if it is called with this context on the same path.
func (g *Grant) Bind(ctx context.Context) context.Context {
	bound, before := g.claim.Bind(ctx), heldIn(ctx)
	for h := before; h != nil; h = h.more {
		if h.claim == g.claim {
			return bound // ctx already lists this grant, and its permits must not count twice
		}
	}
	return context.WithValue(bound, heldKey{}, &held{claim: g.claim, path: g.path, permits: g.permits, more: before})
}

// Deadline returns the time at which Context ends if no server answers until then. While servers
// answer, the session extends the deadline several times in each session timeout. A program that
// needs some time to stop should call Deadline repeatedly, and begin to stop when too little time
// is left. After Context has ended, the result of Deadline has no meaning, because the session may
// renew its lease for other grants.
func (g *Grant) Deadline() time.Time { return g.claim.Deadline() }

// Token returns the grant's fencing token.
func (g *Grant) Token() Token { return Token(g.claim.Token()) }

// Path returns the path of the grant's own znode.
func (g *Grant) Path() string { return g.claim.Node().Path }

// Unlock gives the lock up: the context ends, and then the znode is deleted. If the lock was no
// longer held, the error wraps the cause with which the grant ended.
//
// ctx limits the wait for the servers' answer, but not the release. If ctx has ended, or ends
// before the answer, the error is the cause of ctx, and the session continues to delete the znode
// until it is gone. Therefore the statement `defer grant.Unlock(ctx)` releases the lock, no matter
// how ctx ended.
//
// Session.Close waits for the release, for at most a third of the session timeout. Then it ends the
// session, and the servers delete the znode.
func (g *Grant) Unlock(ctx context.Context) error {
	if err := g.claim.Leave(ctx, ErrReleased); err != nil {
		return fmt.Errorf("lock: release %s: %w", g.Path(), err)
	}
	return nil
}

// Txn applies ops in one transaction. The transaction fails unless the lock is still held when the
// servers execute it, so no later holder can have written before the transaction. The error is
// truthful even after a lost reply, but in that case the results of the ops are zero. After an
// error, session.OutcomeOf reports whether the transaction was applied. The outcome is
// Indeterminate only in these cases:
//
//   - ctx or the session ended during the call.
//   - Another client deleted the grant's znode.
//   - A reply was lost, and a server then refused for good to show whether the ops were applied.
func (g *Grant) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	results, err := g.claim.Txn(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("lock: transaction under %s: %w", g.Path(), err)
	}
	return results, nil
}

// heldKey is the context key for the list of paths that are held.
type heldKey struct{}

// The type `held` is an entry in a linked list of held paths. The first entry has the path of a
// grant. The next entries have the held paths of the context that was passed to Lock or Bind.
type held struct {
	claim   *lockqueue.Place
	path    string // of the lock or semaphore
	permits int    // number of permits, for a semaphore
	more    *held
}

// heldIn returns the list of held paths that ctx contains, or nil if ctx belongs to no grant.
func heldIn(ctx context.Context) *held {
	h, _ := ctx.Value(heldKey{}).(*held)
	return h
}

// The function `holds` reports whether ctx belongs to a grant on path in s. A context can outlive a
// grant and still list the grant, but a grant that has ended does not count. A grant in another
// session does not count either: that session may use another ensemble or chroot, where the same
// path denotes another znode.
func holds(ctx context.Context, s *session.Session, path string) bool {
	for h := heldIn(ctx); h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			return true
		}
	}
	return false
}

// holdingPermits records how many permits g holds, and returns g.
func (g *Grant) holdingPermits(permits int) *Grant {
	g.permits = permits
	return g
}

// permitsHeld returns the sum of the permits of the grants that ctx belongs to. A grant counts only
// if it is on the semaphore at path and in the session s, and has not ended.
func permitsHeld(ctx context.Context, s *session.Session, path string) (n int) {
	for h := heldIn(ctx); h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			n += h.permits
		}
	}
	return n
}
