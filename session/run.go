package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run calls f with a session, and again with a new one each time the session
// is lost while f runs, until f returns for another reason or ctx ends. The
// context that f gets ends with the session; f must return then.
//
// Run returns what f returned, nil included, unless the session was lost; and
// the cause of ctx when that ended. Attempts to open a session are repeated,
// with growing, jittered pauses of up to Options.Timeout.
func Run(ctx context.Context, opts Options, f func(ctx context.Context, s *Session) error) error {
	if err := opts.complete(); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		s, err := Open(ctx, opts)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			if err := pauseBefore(ctx, opts, attempt); err != nil {
				return err
			}
			continue
		}
		began := time.Now()
		err = runOn(ctx, s, f)
		lost := errors.Is(s.Err(), ErrLost)
		s.Close()
		switch {
		case ctx.Err() != nil && err == nil:
			return causeOf(ctx)
		case !lost:
			return err
		}
		if time.Since(began) > opts.Timeout {
			attempt = 0
		}
		if err := pauseBefore(ctx, opts, attempt); err != nil {
			return err
		}
	}
}

// runOn calls f with a context that ends with ctx and with the session.
func runOn(ctx context.Context, s *Session, f func(context.Context, *Session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.life, func() { cancel(s.Err()) })
	defer stop()
	return f(ctx, s)
}

func pauseBefore(ctx context.Context, opts Options, attempt int) error {
	limit := max(opts.Timeout, time.Second)
	return sleep(ctx, jitter(backoff(attempt, 100*time.Millisecond, limit), opts.source()))
}

func errUnreachable(since time.Duration) error {
	return fmt.Errorf("%w: no server reached for %v", ErrLost, since.Round(time.Millisecond))
}
