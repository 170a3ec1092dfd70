package lock

import (
	"context"
	"strings"

	"github.com/zkcoord/zkcoord/internal/under"
)

// Do acquires the lock, calls f, and releases the lock when f has returned. It is the recommended
// way to use a lock. Work that uses the context of f stops when the lock is lost, and also when ctx
// ends, for example because the program shuts down.
//
// The context of f is derived from ctx: it has the values and the deadline of ctx, and ends with
// ctx. It also ends, with the cause, when the lock is lost, before any other client can be granted
// the lock. It ends at the latest when Do returns. See Grant.Bind.
//
// If Lock fails, Do returns the error of Lock and does not call f. Otherwise Do returns the error
// of f. If the lock was lost before f returned, the error of Do also wraps the cause of the loss:
// session.ErrLeaseLapsed, session.ErrRevoked, session.ErrUnreadable, session.ErrLost or
// session.ErrClosed. The work of f may then have overlapped with the work of the next holder,
// unless f stopped when its context ended. If f returns context.Canceled because of the loss, the
// error of Do contains context.Canceled only as text. Therefore errors.Is reports context.Canceled
// only if ctx was cancelled.
//
// Do releases the lock even if f panics. If ctx ends while Do waits for the servers to confirm the
// release, Do returns the error of f, and the session completes the release: see Grant.Unlock. To
// release the lock early, f itself can call Unlock.
func (m *Mutex) Do(ctx context.Context, f func(ctx context.Context, g *Grant) error) error {
	return do(ctx, m.Lock, f, m.queue.Dir)
}

// Do is like Mutex.Do, but f runs while this client is the writer.
func (m *RWMutex) Do(ctx context.Context, f func(ctx context.Context, g *WriteGrant) error) error {
	return do(ctx, m.Lock, f, m.queue.Dir)
}

// RDo is like Mutex.Do, but f runs while this client is a reader.
func (m *RWMutex) RDo(ctx context.Context, f func(ctx context.Context, g *Grant) error) error {
	return do(ctx, m.RLock, f, m.queue.Dir)
}

// Do is like Mutex.Do, with the given number of permits. If Acquire fails, Do returns the error of
// Acquire.
func (m *Semaphore) Do(ctx context.Context, permits int, f func(ctx context.Context, g *Grant) error) error {
	acquire := func(ctx context.Context) (*Grant, error) { return m.Acquire(ctx, permits) }
	return do(ctx, acquire, f, m.path)
}

// Do is like Mutex.Do, but holds all of the locks while f runs. The loss of one lock counts as the
// loss of all.
func (m *Multi) Do(ctx context.Context, f func(ctx context.Context, g *MultiGrant) error) error {
	return do(ctx, m.Lock, f, m.paths...)
}

// Do is like Mutex.Do.
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
