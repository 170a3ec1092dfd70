package lock

import (
	"context"
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/session"
)

// A Token grows with every grant, over the whole ensemble and for ever: it is
// the transaction (czxid) that made the contender's node. Give it to the
// resource that the lock protects, and let the resource refuse any token
// below the largest that it has seen.
type Token int64

// A Grant is a lock held, or permits of a semaphore.
type Grant struct {
	claim *lockqueue.Place
	path  string          // what is held
	ctx   context.Context // the claim's, and which paths are held
}

func newGrant(ctx context.Context, claim *lockqueue.Place, path string) *Grant {
	g := &Grant{claim: claim, path: path}
	g.ctx = g.holding(claim.Context(), ctx)
	return g
}

// Context ends when the lock is no longer held for certain, before anybody
// else can be granted it. context.Cause tells why: ErrReleased,
// session.ErrLeaseLapsed, session.ErrRevoked, session.ErrLost or
// session.ErrClosed. It has neither the end nor the values of the context that
// Lock was called with: work under the context of Do or Bind, which has both.
func (g *Grant) Context() context.Context { return g.ctx }

// Deadline is when Context ends if no server is heard from. The session makes it
// later several times in each session timeout, so a program that needs a while to
// stop reads it again and again, and begins to stop when too little is left. Once
// Context has ended it says nothing: the session may renew its lease for others.
func (g *Grant) Deadline() time.Time { return g.claim.Deadline() }

// Token is the grant's fencing token.
func (g *Grant) Token() Token { return Token(g.claim.Token()) }

// Path is the path of the grant's own node.
func (g *Grant) Path() string { return g.claim.Node().Path }

// Unlock gives the lock up: the context ends, then the node is deleted. If the
// lock was no longer held, the error is the cause for which the grant ended.
//
// ctx bounds the wait for the servers' answer, not the release. If it has ended,
// or ends before the answer, the error is its cause, and the session goes on
// deleting the node until it is gone: so defer grant.Unlock(ctx) releases the
// lock however ctx ended. Session.Close waits for that, for a third of the
// session timeout at most, and then ends the session, with which the servers
// delete the node.
func (g *Grant) Unlock(ctx context.Context) error {
	if err := g.claim.Leave(ctx, ErrReleased); err != nil {
		return fmt.Errorf("lock: release %s: %w", g.Path(), err)
	}
	return nil
}

// Txn applies ops in one transaction, which fails unless the lock is still
// held when the servers carry it out: no other holder can have written before
// it. The answer is true also after a lost reply; then the results of the ops
// are zero. After an error, session.OutcomeOf tells whether it was applied; it
// is Indeterminate only if ctx or the session ended on the way.
func (g *Grant) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	results, err := g.claim.Txn(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("lock: transaction under %s: %w", g.Path(), err)
	}
	return results, nil
}

// heldKey is the key under which a grant's context has the paths held.
type heldKey struct{}

// held is a list of paths: that of a grant, and those of the context in which
// it was waited for.
type held struct {
	claim   *lockqueue.Place
	path    string
	permits int // of a semaphore
	more    *held
}

// holding returns ctx with the knowledge of what the grant holds, and of what the
// context of its caller knows.
func (g *Grant) holding(ctx, caller context.Context) context.Context {
	more, _ := caller.Value(heldKey{}).(*held)
	return context.WithValue(ctx, heldKey{}, &held{claim: g.claim, path: g.path, more: more})
}

// holds reports whether ctx is that of a grant on path in s, which has not ended:
// ctx may outlive it. In another session the path may be another node's.
func holds(ctx context.Context, s *session.Session, path string) bool {
	h, _ := ctx.Value(heldKey{}).(*held)
	for ; h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			return true
		}
	}
	return false
}

// holdingPermits makes g a grant of permits.
func (g *Grant) holdingPermits(permits int) *Grant {
	g.ctx.Value(heldKey{}).(*held).permits = permits
	return g
}

// permitsHeld returns how many permits of path in s the grants have whose context
// ctx is, and that have not ended.
func permitsHeld(ctx context.Context, s *session.Session, path string) (n int) {
	h, _ := ctx.Value(heldKey{}).(*held)
	for ; h != nil; h = h.more {
		if h.claim.Session() == s && h.path == path && h.claim.Context().Err() == nil {
			n += h.permits
		}
	}
	return n
}
