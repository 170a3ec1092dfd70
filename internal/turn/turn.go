// Package turn has a mutex for which a call waits only until a context ends.
package turn

import (
	"context"
	"sync"
)

// A Turn is held by one call at a time. No call holds the zero value.
type Turn struct {
	once sync.Once
	held chan struct{} // full while a call holds the turn; made by the first call
}

// Take waits until no other call holds the turn. If one of the contexts ends first, the error is
// its cause. If ctx has ended before the call, Take always fails.
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
