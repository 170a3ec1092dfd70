// Package turn has a mutex. A call waits for it only until a context ends.
package turn

import "context"

// A Turn is held by one call at a time.
type Turn chan struct{}

// New returns a Turn that no call holds.
func New() Turn { return make(Turn, 1) }

// Take waits until no other call holds the turn. If one of the contexts ends first, the error is
// its cause. If ctx has ended before the call, the turn is not taken.
func (t Turn) Take(ctx, other context.Context) error {
	if ctx.Err() == nil {
		select {
		case t <- struct{}{}:
			return nil
		case <-other.Done():
			return context.Cause(other)
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// End ends the turn of a call that has taken it.
func (t Turn) End() { <-t }
