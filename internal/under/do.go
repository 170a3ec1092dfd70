package under

import (
	"context"
	"errors"
	"fmt"
)

// Work describes a holding, under which Do calls a function. Work also describes how Do releases
// the holding.
type Work struct {
	Held interface {
		// Bind works like Holding.Bind.
		Bind(ctx context.Context) context.Context
		// Context ends when the holding ends.
		Context() context.Context
	}

	// Name describes the loss in errors, for example "lock: lost /locks/a".
	Name string

	// Released is the cause with which Context ends when the holder itself releases the holding.
	// Any other cause means that the holding was lost.
	Released error

	// Release is called after the function has returned. `result` is the function's error, or nil.
	// ctx is the context of Do's caller. If ctx has ended, Release must still start the release.
	//
	// If the function panicked or ended its goroutine instead, `result` is ErrPanicked, and ctx is
	// derived from the context of Do's caller and has already ended.
	Release func(ctx context.Context, result error) error

	// Confirm decides what Do returns if the function returned nil, but ctx ended before the
	// servers confirmed the release. If Confirm is true, Do returns an error. If it is false, Do
	// returns nil, because the release has started.
	Confirm bool
}

// ErrPanicked is the `result` that Work.Release receives if the function did not return: it
// panicked or ended its goroutine.
var ErrPanicked = errors.New("the function did not return")

// Do calls f with a context derived from ctx. When the holding is lost, the derived context ends
// with the cause of the loss. When f returns, Do releases the holding and waits for the release. If
// f panics or ends its goroutine instead, Do starts the release and does not wait.
//
// If the holding was lost, Do returns the error of f joined with the loss. Otherwise Do returns the
// error of f joined with the error of the release. Do leaves out the error of the release in two
// cases:
//
//   - f itself has released the holding.
//   - ctx has ended and the release continues. But see Work.Confirm.
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

// join returns the error of Do, given the errors of the function and of the release.
func (w Work) join(ctx context.Context, err, released error) error {
	cause := context.Cause(w.Held.Context())
	switch lost := cause != nil && !errors.Is(cause, w.Released); {
	case lost && errors.Is(err, cause):
		return err // the function has returned the loss itself
	case lost && errors.Is(err, context.Canceled) && ctx.Err() == nil:
		// The caller did not cancel, so the error must not be context.Canceled.
		return fmt.Errorf("%s: %w (%v)", w.Name, cause, err)
	case lost:
		return join(err, fmt.Errorf("%s: %w", w.Name, cause))
	case errors.Is(released, w.Released):
		return err // the function itself has released the holding
	case ctx.Err() != nil && errors.Is(released, context.Cause(ctx)) && (err != nil || !w.Confirm):
		return err // the release continues without the caller
	}
	return join(err, released)
}

// join is errors.Join, but returns a single error unchanged.
func join(err, other error) error {
	switch {
	case err == nil:
		return other
	case other == nil:
		return err
	}
	return errors.Join(err, other)
}
