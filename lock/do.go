package lock

import (
	"context"
	"strings"

	"github.com/zkcoord/zkcoord/internal/under"
)

// Do locks, calls f, and unlocks when f has returned. It is the way to use a
// lock: a program that works under the context which f gets stops when the
// lock is lost, and on its own shutdown.
//
// That context is derived from ctx: it has its values and its deadline, and ends
// with it. It ends too, with the cause, when the lock is lost, before anybody
// else can be granted it, and when Do returns. See Grant.Bind.
//
// Do returns the error of Lock, and then f was not called; else the error of f.
// If the lock was lost before f had returned, the error is also the cause:
// session.ErrLeaseLapsed, session.ErrRevoked, session.ErrLost or
// session.ErrClosed. What f did may then have overlapped with what the next
// holder does, unless f stopped when its context ended. A context.Canceled that
// f returns because of the loss is only in the text, so that errors.Is finds it
// only where ctx was cancelled.
//
// The lock is released also if f panics. If ctx ends while Do waits for the
// servers to confirm the release, Do returns what f returned, and the session
// goes on: see Grant.Unlock. f may call Unlock itself, to release early.
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context, g *Grant) error) error {
	return do(ctx, m.Lock, f, m.queue.Dir)
}

// Do is Mutex.Do as the writer.
func (m *RWMutex) Do(ctx context.Context, f func(ctx context.Context, g *WriteGrant) error) error {
	return do(ctx, m.Lock, f, m.queue.Dir)
}

// RDo is Mutex.Do as a reader.
func (m *RWMutex) RDo(ctx context.Context, f func(ctx context.Context, g *Grant) error) error {
	return do(ctx, m.RLock, f, m.queue.Dir)
}

// Do is Mutex.Do with so many permits. The error of Acquire is returned as it is.
func (m *Semaphore) Do(ctx context.Context, permits int, f func(ctx context.Context, g *Grant) error) error {
	acquire := func(ctx context.Context) (*Grant, error) { return m.Acquire(ctx, permits) }
	return do(ctx, acquire, f, m.path)
}

// Do is Mutex.Do with all of the locks. To lose one of them is to lose all.
func (m *Multi) Do(ctx context.Context, f func(ctx context.Context, g *MultiGrant) error) error {
	return do(ctx, m.Lock, f, m.paths...)
}

// Do is Mutex.Do.
func (e *Exclusive) Do(ctx context.Context, f func(ctx context.Context, g *Grant) error) error {
	return do(ctx, e.Lock, f, e.path)
}

// A grant is a Grant, a WriteGrant or a MultiGrant.
type grant interface {
	Bind(ctx context.Context) context.Context
	Context() context.Context
	Unlock(ctx context.Context) error
}

func do[G grant](ctx context.Context, lock func(context.Context) (G, error), f func(context.Context, G) error, paths ...string) error {
	g, err := lock(ctx)
	if err != nil {
		return err
	}
	return under.Do(ctx, under.Work{
		Held:     g,
		Name:     "lock: lost " + strings.Join(paths, ", "),
		Released: ErrReleased,
		Release:  func(ctx context.Context, _ error) error { return g.Unlock(ctx) },
	}, func(ctx context.Context) error { return f(ctx, g) })
}

// Bind returns a context for work under the lock, for those who hold it by hand:
//
//	defer grant.Unlock(ctx)
//	ctx = grant.Bind(ctx)
//
// It has the values and the deadline of ctx, and ends with it. It ends too, with
// the cause, when the grant does: before anybody else can be granted the lock,
// and before Unlock deletes the node. Nothing has to be released; what Bind
// registers goes when the grant ends, or when ctx does.
//
// Lock with this context, on the same path, fails with ErrDeadlock.
func (g *Grant) Bind(ctx context.Context) context.Context {
	return g.holding(g.claim.Bind(ctx), ctx)
}

// Bind is Grant.Bind: the context ends when one of the locks is lost.
func (g *MultiGrant) Bind(ctx context.Context) context.Context {
	for _, grant := range g.grants {
		ctx = grant.Bind(ctx)
	}
	return ctx
}
