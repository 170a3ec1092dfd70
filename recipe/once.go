package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/session"
)

// Once sends a write that must be applied at most once, if its result shows whether it was applied:
// a node under a name that nobody else uses, or data that nobody else writes meanwhile. If other
// clients may delete or replace the result at any time, use a [Ledger].
//
// Once calls send. It calls send again if the request was not written, or is known to have failed
// with its connection. If the write may have been applied, Once sends a [ReadBarrier] on path and
// then calls look. The answer of look is then final: a request that was lost with its connection is
// applied before the read barrier, or never.
//
// A nil error means that the write was applied. The outcome of any other error is that of
// [session.OutcomeOf]. It is Indeterminate only if ctx or the session ended during the call, or if
// look failed for good.
func Once(ctx context.Context, s *session.Session, path string, send func(ctx context.Context) error, look func(ctx context.Context) (applied bool, err error)) error {
	for {
		err := send(ctx)
		switch outcome := session.OutcomeOf(err); {
		case outcome == session.OK:
			return nil
		case outcome == session.Failed && !session.ConnectionLost(err), ctx.Err() != nil, s.Err() != nil:
			return err
		case outcome == session.Failed:
			continue // It was not sent before its connection was lost.
		}
		applied, unsettled := Settle(ctx, s, path, look)
		switch {
		case unsettled != nil:
			return &session.RequestError{Op: "settle", Path: path, Outcome: session.Indeterminate, Err: unsettled}
		case applied:
			return nil
		case !session.ConnectionLost(err):
			// The answer proved nothing, and look has shown that nothing was applied.
			return &session.RequestError{Op: "settle", Path: path, Outcome: session.Failed, Err: err}
		}
	}
}

// Settle finds out, like [Once], whether a write was applied. It retries while the error is
// session.Transient. An error means that this cannot be known.
func Settle(ctx context.Context, s *session.Session, path string, look func(ctx context.Context) (applied bool, err error)) (applied bool, err error) {
	err = s.Retry(ctx, func(ctx context.Context) error {
		err := ReadBarrier(ctx, s, path)
		if err == nil {
			applied, err = look(ctx)
		}
		return err
	})
	return applied && err == nil, err
}
