package election

import "context"

// Bind returns a context for work as the leader. It is for programs that call Campaign themselves:
//
//	defer term.Resign(ctx)
//	ctx = term.Bind(ctx)
//
// The context has the values and the deadline of ctx, and ends with ctx. It also ends, with the
// cause, when the term ends, before any other candidate can be elected and before Resign deletes
// the znode. No call is needed to free the context: its resources are freed when the term or ctx
// ends.
func (t *Term) Bind(ctx context.Context) context.Context { return t.leading(t.claim.Bind(ctx), ctx) }
