package under

import (
	"context"
	"errors"
	"sync"
)

// A Holding is something that a program holds, for example a lock. The first call of End ends the
// holding and sets the cause. The zero value has not ended. A Holding is safe for concurrent use.
type Holding struct {
	mu    sync.Mutex
	ended bool
	cause error
	hooks map[*hook]struct{}
}

type hook struct{ call func(cause error) }

// End ends the holding with the given cause, unless it has already ended. When End returns, all
// contexts of Bind and all contexts derived from them have ended. No other goroutine has to be
// scheduled for this.
func (h *Holding) End(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.ended, h.cause = true, cause
	for hook := range h.hooks {
		hook.call(cause)
	}
	h.hooks = nil
}

// OnEnd registers f. End calls f with the cause, and returns only after f has returned. If the
// holding has already ended, OnEnd calls f itself. f must not block and must not use the holding.
func (h *Holding) OnEnd(f func(cause error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addLocked(&hook{f})
}

// Bind returns a context with the values and the deadline of ctx. When the holding or ctx ends, the
// returned context ends with the same cause. In both cases the returned context ends synchronously:
// it is a child of ctx, and End cancels it before End returns.
func (h *Holding) Bind(ctx context.Context) context.Context {
	bound, cancel := context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	own := &hook{}
	// If ctx has already ended, AfterFunc calls h.forget at once, on another goroutine. h.forget
	// waits for the mutex, so it removes the hook only after addLocked has added it.
	forget := context.AfterFunc(ctx, func() { h.forget(own) })
	own.call = func(cause error) {
		forget()
		cancel(cause)
	}
	h.addLocked(own)
	return context.WithValue(bound, callerKey{h}, ctx)
}

// callerKey is the key under which a bound context stores the context that was passed to Bind.
type callerKey struct{ h *Holding }

// Unbind returns a context that limits a wait for the release of the holding. A context of Bind
// cannot limit this wait, because the release ends that context. The caller has to call the
// returned function when the wait is over.
//
// If ctx does not come from Bind, or if ctx has already ended, Unbind returns ctx itself. Otherwise
// the returned context ends when ctx ends. There is one exception: if the holding ends ctx, the
// returned context continues until the deadline of ctx, or until the context that was passed to
// Bind ends.
//
// A program can use [context.WithoutCancel] to derive ctx from a context of Bind. Then neither the
// holding nor the context that was passed to Bind ends ctx, so neither of them may end the wait.
// Unbind cannot recognize such a ctx by its values, because it has all values of the context of
// Bind. So Unbind waits for the context that was passed to Bind only after the holding has ended
// ctx. This never happens to such a ctx.
func (h *Holding) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	caller, bound := ctx.Value(callerKey{h}).(context.Context)
	if !bound || ctx.Err() != nil {
		return ctx, func() {}
	}
	for next := caller; bound; next, bound = caller.Value(callerKey{h}).(context.Context) {
		caller = next
	}
	wait, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if h.endedWith(cause) {
			select {
			case <-caller.Done():
				cause = context.Cause(caller)
			case <-wait.Done():
			}
		}
		cancel(cause)
	})
	done := func() { forget(); cancel(nil) }
	added, _ := ctx.Deadline()
	if own, _ := caller.Deadline(); added.IsZero() || added.Equal(own) {
		return wait, done
	}
	timed, stop := context.WithDeadline(wait, added)
	return timed, func() { stop(); done() }
}

// endedWith reports whether the holding has ended with the given cause.
func (h *Holding) endedWith(cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended && errors.Is(cause, h.cause)
}

func (h *Holding) addLocked(added *hook) {
	if h.ended {
		added.call(h.cause)
		return
	}
	if h.hooks == nil {
		h.hooks = make(map[*hook]struct{})
	}
	h.hooks[added] = struct{}{}
}

func (h *Holding) forget(gone *hook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.hooks, gone)
}
