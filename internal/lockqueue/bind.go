package lockqueue

import "context"

// Bind returns the context for work under the claim; see session.Hold.Bind.
func (c *Claim) Bind(ctx context.Context) context.Context { return c.hold.Bind(ctx) }

// Unbind returns what ends a wait for Leave; see session.Hold.Unbind.
func (c *Claim) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return c.hold.Unbind(ctx)
}
