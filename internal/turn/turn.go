// Package turn has a mutex for which a call waits only until a context ends.
package turn

import (
	"context"
	"sync"
)

// A Turn is a mutex that at most one call holds at a time. No call holds the zero value.
type Turn struct {
	once sync.Once
	held chan struct{} // full while a call holds the turn; made by the first call
}

// Take waits until no other call holds the turn. If one of the contexts ends first, Take returns
// the cause of that context. If ctx has already ended, Take fails even if no call holds the turn.
func (t *Turn) Take(ctx, other context.Context) error {
	t.once.Do(func() { t.held = make(chan struct{}, 1) })
	if ctx.Err() == nil {
		select {
		case t.held <- struct{}{}:
			return nil
		case <-other.Done():
			return context.Cause(other)
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// End releases the turn, so that another call can take it. The caller must hold the turn.
func (t *Turn) End() { <-t.held }
