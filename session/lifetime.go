package session

import (
	"context"
	"sync"
	"time"
)

// A lifetime is the time from the start of a session to its end, with the goroutines that run in
// this time.
type lifetime struct {
	ctx     context.Context // ends with the cause when the session ends
	cancel  context.CancelCauseFunc
	settled *gate // open while no detached work is in progress

	mu       sync.Mutex
	work     sync.WaitGroup // nothing is added after the end
	detached int            // number of detached calls in progress
}

func newLifetime() *lifetime {
	l := &lifetime{settled: new(gate)}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.settled.set(true)
	return l
}

// The method `err` returns nil before the end, and then the cause of the end.
func (l *lifetime) err() error { return context.Cause(l.ctx) }

func (l *lifetime) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel(cause)
}

// spawn runs f on a new goroutine, for which the method `wait` waits. After the end of the
// lifetime, spawn does not run f and returns false.
func (l *lifetime) spawn(f func()) bool {
	if !l.enter() {
		return false
	}
	go func() {
		defer l.leave()
		f()
	}()
	return true
}

// The method `enter` must be called before a goroutine is started, and `leave` when the goroutine
// ends. After the end of the lifetime, `enter` returns false, and the goroutine must not be
// started.
func (l *lifetime) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.work.Add(1)
	return true
}

func (l *lifetime) leave() { l.work.Done() }

// The method `wait` waits for all goroutines of the lifetime. Call it after the end of the
// lifetime.
func (l *lifetime) wait() { l.work.Wait() }

// detach runs f on a goroutine of the session, to undo something after the caller's context has
// ended. Requests that f makes are sent after all requests that were abandoned before detach was
// called.
//
// The context of f ends with the session. f has no timeout, because anything that f does not undo
// would remain until the session ends. Close waits for f, at most a third of the session timeout.
// The returned channel receives the result of f, or the cause of the session's end if f could not
// run.
func (l *lifetime) detach(f func(ctx context.Context) error) <-chan error {
	done := make(chan error, 1)
	l.count(1)
	if !l.enter() {
		l.count(-1)
		done <- l.err()
		return done
	}
	go func() {
		defer l.leave()
		defer l.count(-1)
		done <- f(l.ctx)
	}()
	return done
}

func (l *lifetime) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detached += n
	l.settled.set(l.detached == 0)
}

// settle waits for the detached work in progress, but not longer than the limit.
func (l *lifetime) settle(limit time.Duration) {
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	l.settled.wait(ctx, l.ctx)
}
