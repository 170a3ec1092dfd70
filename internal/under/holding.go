package under

import (
	"context"
	"sync"
)

// A Holding is something that is held until it ends, once, with a cause. Its
// zero value is held. It is safe for concurrent use.
type Holding struct {
	mu    sync.Mutex
	ended bool
	cause error
	hooks map[*hook]struct{}
}

type hook struct{ call func(cause error) }

// End ends the holding with the given cause, unless it has ended before. When
// End returns, all contexts of Bind have ended, with everything derived from
// them: no other goroutine has to be scheduled for that.
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

// OnEnd has f called with the cause when the holding ends: by End, before it
// returns, or by OnEnd if the holding has ended before. f must not block and
// must not use the holding.
func (h *Holding) OnEnd(f func(cause error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addLocked(&hook{f})
}

// Bind returns a context with the values and the deadline of ctx. It ends, with
// the cause, when the holding ends or when ctx does. Both are synchronous: ctx
// is its parent, and End ends it before it returns.
func (h *Holding) Bind(ctx context.Context) context.Context {
	bound, cancel := context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	own := &hook{}
	// The lock is held, so a parent that has ended forgets the hook after it was added.
	forget := context.AfterFunc(ctx, func() { h.forget(own) })
	own.call = func(cause error) {
		forget()
		cancel(cause)
	}
	h.addLocked(own)
	return context.WithValue(bound, callerKey{h}, ctx)
}

// callerKey is the key under which a bound context has the one that it is bound
// from.
type callerKey struct{ h *Holding }

// Unbind returns what ends a wait for the holding's own release: a context of
// Bind ends with the release, and so cannot. Of a bound context it is the one that
// Bind was given, with the deadline that was added since; of any other, and of one
// that has ended, that context itself.
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
