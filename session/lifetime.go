package session

import (
	"context"
	"sync"
	"time"
)

// A lifetime is the life of a session, and the goroutines that work in it.
type lifetime struct {
	ctx     context.Context // ends, with the cause, when the session does
	cancel  context.CancelCauseFunc
	settled *gate // open while no detached work is under way

	mu       sync.Mutex
	work     sync.WaitGroup // nothing is added after the end
	detached int            // detached work under way
}

func newLifetime() *lifetime {
	l := &lifetime{settled: newGate()}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.settled.set(true)
	return l
}

// err is nil while the life goes on, then why it ended.
func (l *lifetime) err() error { return context.Cause(l.ctx) }

// end ends the life.
func (l *lifetime) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel(cause)
}

// spawn runs f on a goroutine that wait waits for. It reports false, and does not
// run f, if the life has ended.
func (l *lifetime) spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.work.Go(f)
	return true
}

// wait waits for what was spawned. Call it after the end.
func (l *lifetime) wait() { l.work.Wait() }

// detach runs f on a goroutine of the session, with a context that ends with
// the session: for what must be undone although the caller's context has
// ended. What f requests comes behind the requests that were abandoned before. There
// is no bound, since what f gives up would stay for as long as the session lives. Close
// waits for f, a third of the session timeout at most, before it closes the session.
// The channel gets what f returned, or why the session is over if f could not be run.
func (l *lifetime) detach(f func(ctx context.Context) error) <-chan error {
	done := make(chan error, 1)
	l.count(1)
	if !l.spawn(func() {
		defer l.count(-1)
		done <- f(l.ctx)
	}) {
		l.count(-1)
		done <- l.err()
	}
	return done
}

func (l *lifetime) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detached += n
	l.settled.set(l.detached == 0)
}

// settle waits for the detached work under way, with a bound.
func (l *lifetime) settle(limit time.Duration) {
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	l.settled.wait(ctx, l.ctx)
}
