package lockqueue

import "context"

// Bind returns a context for work that must stop when the place ends; see recipe.Hold.Bind.
func (c *Place) Bind(ctx context.Context) context.Context { return c.hold.Bind(ctx) }

// Unbind returns the context for the wait in Leave; see recipe.Hold.Unbind.
func (c *Place) Unbind(ctx context.Context) (context.Context, context.CancelFunc) {
	return c.hold.Unbind(ctx)
}
