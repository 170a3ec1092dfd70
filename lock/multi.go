package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/session"
)

// A Multi is a set of Mutexes that are acquired together. They are acquired one after the other in
// the order of their paths, so that two Multis cannot wait for each other.
type Multi struct {
	session *session.Session
	paths   []string
	o       Options
	invalid error // an error in the constructor's arguments
}

// NewMulti returns the locks at paths. A path that occurs more than once counts once. NewMulti
// makes no request. If there are no paths, or if a path or an option is invalid, each call fails
// with session.ErrInvalid.
func NewMulti(s *session.Session, paths []string, o Options) *Multi {
	m := &Multi{session: s, paths: slices.Compact(slices.Sorted(slices.Values(paths))), o: o}
	if len(paths) == 0 {
		m.invalid = invalid.New("lock: acquire: no paths")
	}
	for _, path := range m.paths {
		if err := o.check(path); err != nil && m.invalid == nil {
			m.invalid = acquireError(path, err)
		}
	}
	return m
}

// A MultiGrant is a grant of all the locks of a Multi.
type MultiGrant struct {
	grants []*Grant
	ctx    context.Context
	end    context.CancelCauseFunc
}

// Lock waits for all of the locks. If ctx ends first, if one lock is lost while Lock waits for
// another, or on any other error, no lock is held and no znode remains.
//
// Lock fails with ErrDeadlock if ctx is the context of a grant on one of the paths. Lock checks all
// paths before it waits for any lock. Without this check, the caller could wait for a client that
// itself waits for the caller's grant.
func (m *Multi) Lock(ctx context.Context) (*MultiGrant, error) {
	for _, path := range m.paths {
		if holds(ctx, m.session, path) {
			return nil, acquireError(path, ErrDeadlock)
		}
	}
	return m.take(ctx, (*Mutex).Lock)
}

// TryLock is like Lock, but fails with ErrLocked where Lock would wait for another contender.
func (m *Multi) TryLock(ctx context.Context) (*MultiGrant, error) {
	return m.take(ctx, (*Mutex).TryLock)
}

func (m *Multi) take(ctx context.Context, lock func(*Mutex, context.Context) (*Grant, error)) (*MultiGrant, error) {
	if m.invalid != nil {
		return nil, m.invalid
	}
	wait, end := context.WithCancel(ctx)
	defer end()
	g := &MultiGrant{}
	for _, path := range m.paths {
		grant, err := lock(NewMutex(m.session, path, m.o), wait)
		if err != nil {
			g.release(ctx)
			return nil, err
		}
		g.grants = append(g.grants, grant)
		wait = grant.Bind(wait) // the wait also ends if this lock is lost
	}
	own, release := context.WithCancelCause(context.WithValue(context.Background(), heldKey{}, ctx.Value(heldKey{})))
	g.ctx, g.end = g.Bind(own), release
	return g, nil
}

// Context returns a context that ends, with the cause, when it is no longer certain that all locks
// are held; see Grant.Context. Use the context of Do or Bind for the work.
func (g *MultiGrant) Context() context.Context { return g.ctx }

// Bind is like Grant.Bind. The context ends when one of the locks is lost.
func (g *MultiGrant) Bind(ctx context.Context) context.Context {
	for _, grant := range g.grants {
		ctx = grant.Bind(ctx)
	}
	return ctx
}

// Deadline is like Grant.Deadline. All of the locks depend on one lease.
func (g *MultiGrant) Deadline() time.Time { return g.grants[0].Deadline() }

// Grants returns the grants, in the order of their paths. Each has its own token.
func (g *MultiGrant) Grants() []*Grant { return slices.Clone(g.grants) }

// Unlock releases all the locks; see Grant.Unlock. Its error contains an error for each lock that
// was no longer held, or whose release was not confirmed.
func (g *MultiGrant) Unlock(ctx context.Context) error {
	for _, grant := range g.grants { // a grant lost just before Unlock must not count as released
		if cause := context.Cause(grant.claim.Context()); cause != nil {
			g.end(cause)
		}
	}
	g.end(ErrReleased) // before the first of the locks can be granted to another client
	return g.release(ctx)
}

func (g *MultiGrant) release(ctx context.Context) error {
	// If ctx comes from Bind, it ends when the first lock is released. Without Unbind, the waits
	// for the releases of the other locks would end too.
	for _, grant := range slices.Backward(g.grants) {
		unbound, cancel := grant.claim.Unbind(ctx)
		defer cancel()
		ctx = unbound
	}
	errs := make([]error, len(g.grants))
	var wg sync.WaitGroup
	for i, grant := range g.grants {
		wg.Go(func() { errs[i] = grant.Unlock(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Txn is like Grant.Txn, but fails unless all of the locks are still held.
func (g *MultiGrant) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	first, others := g.grants[0], g.grants[1:]
	all := make([]session.Op, 0, len(others)+len(ops))
	for _, other := range others {
		all = append(all, session.CheckOp{Path: other.Path(), Version: session.AnyVersion})
	}
	results, err := first.Txn(ctx, append(all, ops...)...)
	if err == nil {
		return results[len(others):], nil
	}
	part := (*session.MultiError)(nil)
	if !errors.As(err, &part) {
		return nil, err
	}
	if part.Index < len(others) {
		cause := part.Err
		if errors.Is(cause, session.ErrNoNode) {
			cause = session.ErrRevoked
			others[part.Index].claim.Revoked()
			g.end(cause)
		}
		return nil, fmt.Errorf("lock: transaction under %s: %w", part.Path,
			&session.RequestError{Op: "txn", Path: part.Path, Outcome: session.Failed, Err: cause})
	}
	part.Index -= len(others)
	return nil, err
}
