package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run calls f with a session. If the session is lost while f runs, Run calls f again with a new
// session. Run repeats this until ctx ends, or until f returns from a call whose session was not
// lost. The context passed to f ends with the session; f must then return.
//
// If f returns from a call whose session was not lost, Run returns the result of f. If that result
// is nil and ctx has ended, Run returns the cause of ctx instead.
//
// If ctx ends after a session was lost or could not be opened, Run returns the cause of ctx. The
// error also contains the reason of the last failure, if there was one.
//
// Run repeats attempts to open a session. The pauses between them grow, with jitter, up to
// Options.Timeout, or up to one second if Options.Timeout is shorter. If credentials are refused,
// Run returns ErrCredentials at once, because a new session would be refused too.
func Run(ctx context.Context, opts Options, f func(ctx context.Context, s *Session) error) error {
	if err := opts.complete(); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		began := time.Now()
		again, err := runOnce(ctx, opts, f)
		if !again {
			return err
		}
		if time.Since(began) > opts.Timeout {
			attempt = 0
		}
		if over := pauseBefore(ctx, opts, attempt); over != nil {
			return fmt.Errorf("%w (last: %w)", over, err)
		}
	}
}

// runOnce calls f with one session. It reports whether Run must open another session. If so, err is
// the reason; otherwise, err is the result of Run.
func runOnce(ctx context.Context, opts Options, f func(context.Context, *Session) error) (again bool, err error) {
	s, err := Open(ctx, opts)
	if err != nil {
		return ctx.Err() == nil && curable(err), err
	}
	err = runOn(ctx, s, f)
	lost := s.Err()
	s.Close()
	switch {
	case !errors.Is(lost, ErrLost):
		if err == nil && ctx.Err() != nil {
			err = causeOf(ctx)
		}
		return false, err
	case !curable(lost):
		if err == nil || errors.Is(err, context.Canceled) { // f reports only the end of its context
			err = lost
		}
		if !errors.Is(err, ErrCredentials) {
			err = fmt.Errorf("%w (%w)", err, lost)
		}
		return false, err
	}
	return true, lost
}

// The function `curable` reports whether a new session may succeed after a session failed with err.
func curable(err error) bool { return !errors.Is(err, ErrCredentials) }

// runOn calls f with a context that ends when ctx or the session ends.
func runOn(ctx context.Context, s *Session, f func(context.Context, *Session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.life.ctx, func() { cancel(s.Err()) })
	defer stop()
	return f(ctx, s)
}

func pauseBefore(ctx context.Context, opts Options, attempt int) error {
	limit := max(opts.Timeout, time.Second)
	return sleep(ctx, jitter(backoff(attempt, 100*time.Millisecond, limit), opts.source()))
}
