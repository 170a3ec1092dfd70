package under

import (
	"context"
	"errors"
	"fmt"
)

// Work is something held that a function is to run under.
type Work struct {
	Held interface {
		// Bind is Holding.Bind.
		Bind(ctx context.Context) context.Context
		// Context ends when it is no longer held.
		Context() context.Context
	}

	// Name says in errors what was lost: "lock: lost /locks/a".
	Name string

	// Released is the cause with which Context ends when the holder itself
	// gives up what it holds. Any other cause is a loss.
	Released error

	// Release gives it up after the function has returned the given error. It
	// gets the context of the caller, which may have ended: it must begin the
	// release even so. If the function did not return, the error is ErrPanicked.
	Release func(ctx context.Context, result error) error

	// Confirm makes it an error if the function returned nil, and ctx ended before
	// the release was confirmed. Without it that is none: what is held is given up
	// at once, and only the servers' answer is missing.
	Confirm bool
}

// ErrPanicked is the result of a function that panicked or ended its goroutine.
var ErrPanicked = errors.New("the function did not return")

// Do calls f with a context derived from ctx which ends, with the cause, when
// what is held is lost. Then it releases what is held, also where f panicked or
// ended its goroutine; in that case it begins the release and does not wait.
//
// The error is that of f, joined with the loss and with what went wrong in the
// release.
func Do(ctx context.Context, w Work, f func(ctx context.Context) error) error {
	returned := false
	defer func() {
		if !returned {
			ended, cancel := context.WithCancelCause(ctx)
			cancel(ErrPanicked)
			_ = w.Release(ended, ErrPanicked)
		}
	}()
	err := f(w.Held.Bind(ctx))
	returned = true
	return w.join(ctx, err, w.Release(ctx, err))
}

// join is the error of Do, from that of the function and that of the release.
func (w Work) join(ctx context.Context, err, released error) error {
	cause := context.Cause(w.Held.Context())
	switch lost := cause != nil && !errors.Is(cause, w.Released); {
	case lost && errors.Is(err, cause):
		return err // the function says so itself
	case lost && errors.Is(err, context.Canceled) && ctx.Err() == nil:
		// It was not the caller who cancelled, and the caller must not read it so.
		return fmt.Errorf("%s: %w (%v)", w.Name, cause, err)
	case lost:
		return join(err, fmt.Errorf("%s: %w", w.Name, cause))
	case errors.Is(released, w.Released):
		return err // the function has released it itself
	case ctx.Err() != nil && errors.Is(released, context.Cause(ctx)) && (err != nil || !w.Confirm):
		return err // the release goes on
	}
	return join(err, released)
}

// join is errors.Join, but returns a single error as it is.
func join(err, other error) error {
	switch {
	case err == nil:
		return other
	case other == nil:
		return err
	}
	return errors.Join(err, other)
}
