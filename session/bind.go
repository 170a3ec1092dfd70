package session

import "context"

// Bind returns the context for work under the hold. It has the values and the
// deadline of ctx, and ends with the cause when ctx or the hold ends, whichever
// is first. End and the keeper of the lease end it themselves, and what is
// derived from it, before they go on: no goroutine has to be scheduled for that,
// and no other client can be granted the same before. When ctx ends, it ends as
// every context derived from ctx.
//
// Nothing has to be released: what Bind registers goes when the hold ends, or
// when ctx does.
func (h *hold) Bind(ctx context.Context) context.Context { return h.bound.Bind(ctx) }

// Unbind returns what ends a wait for the release of the hold. A context of Bind
// ends with the release, so it cannot: Unbind returns the one that Bind was given,
// with the deadline that ctx has. A context that has ended, or that is not of Bind,
// is returned as it is. Call the function when the wait is over.
func (h *hold) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return h.bound.Unbind(ctx)
}

// OnEnd has f called with the cause when the hold ends, by the goroutine that
// ends it, before it goes on; or at once if the hold has ended. f must not block
// and must not use the session or the hold: the session's lock is held. It is for
// recipes with contexts of their own; everybody else uses Bind.
func (h *hold) OnEnd(f func(cause error)) { h.bound.OnEnd(f) }
