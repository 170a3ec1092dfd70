package under

import (
	"context"
	"sync"
)

// A Holding is something that is held until it ends, once, with a cause. The
// zero value is held. It is safe for concurrent use.
type Holding struct {
	mu    sync.Mutex
	ended bool
	cause error
	hooks map[*hook]struct{}
}

type hook struct{ call func(cause error) }

// End ends the holding with the given cause, unless it has already ended. When
// End returns, all contexts of Bind and all contexts derived from them have
// ended. No other goroutine has to be scheduled for this.
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

// OnEnd registers f. The holding calls f with the cause when it ends, before
// End returns. If the holding has already ended, OnEnd calls f itself. f must
// not block and must not use the holding.
func (h *Holding) OnEnd(f func(cause error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addLocked(&hook{f})
}

// Bind returns a context with the values and the deadline of ctx. The returned context ends, with
// the cause, when the holding ends or when ctx ends. Both ends are synchronous: ctx is the parent
// of that context, and End cancels that context before End returns.
func (h *Holding) Bind(ctx context.Context) context.Context {
	bound, cancel := context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	own := &hook{}
	// The mutex is held here. So a parent that has already ended removes the hook only after the
	// hook was added.
	forget := context.AfterFunc(ctx, func() { h.forget(own) })
	own.call = func(cause error) {
		forget()
		cancel(cause)
	}
	h.addLocked(own)
	return context.WithValue(bound, callerKey{h}, ctx)
}

// callerKey is the key under which a bound context stores the context that was
// passed to Bind.
type callerKey struct{ h *Holding }

// Unbind returns a context that limits a wait for the release of the holding. A context of Bind
// cannot do this, because it ends with the release. For a bound context, Unbind returns the context
// that was passed to Bind, with the deadline that was added since. For any other context, and for a
// context that has ended, Unbind returns that context itself.
func (h *Holding) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	caller, bound := ctx.Value(callerKey{h}).(context.Context)
	if !bound || ctx.Err() != nil {
		return ctx, func() {}
	}
	for next := caller; bound; next, bound = caller.Value(callerKey{h}).(context.Context) {
		caller = next
	}
	added, _ := ctx.Deadline()
	if own, _ := caller.Deadline(); added.Equal(own) {
		return caller, func() {}
	}
	return context.WithDeadline(caller, added)
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
