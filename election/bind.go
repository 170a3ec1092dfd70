package election

import "context"

// Bind returns a context for work as the leader, for those who lead by hand:
//
//	defer term.Resign(ctx)
//	ctx = term.Bind(ctx)
//
// It has the values and the deadline of ctx, and ends with it. It ends too, with
// the cause, when the term does: before anybody else can be elected, and before
// Resign deletes the node. Nothing has to be released; what Bind registers goes
// when the term ends, or when ctx does.
func (t *Term) Bind(ctx context.Context) context.Context { return t.leading(t.claim.Bind(ctx), ctx) }
