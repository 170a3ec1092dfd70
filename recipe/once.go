package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/session"
)

// Once sends a write and ensures that it is applied at most once. The result of the write must show
// whether the write was applied: it must be a znode under a name that nobody else uses, or data
// that nobody else writes meanwhile. If other clients may delete or replace the result at any time,
// use a [Ledger].
//
// Once calls the function `send`. If the connection was lost before the write could be applied,
// Once calls `send` again. If the write may have been applied, Once sends a [ReadBarrier] on path
// and then calls the function `look`. The answer of `look` is final: a request that was lost with
// its connection is applied before the read barrier, or never.
//
// If Once returns nil, the write was applied. If Once returns an error, [session.OutcomeOf] says
// whether the write was applied. The outcome is Indeterminate only if ctx or the session ended
// during the call, or if the read barrier or `look` failed for good.
func Once(ctx context.Context, s *session.Session, path string, send func(ctx context.Context) error, look func(ctx context.Context) (applied bool, err error)) error {
	for {
		err := send(ctx)
		switch outcome := session.OutcomeOf(err); {
		case outcome == session.OK:
			return nil
		case outcome == session.Failed && !session.ConnectionLost(err), ctx.Err() != nil, s.Err() != nil:
			return err
		case outcome == session.Failed:
			continue // The connection was lost before the write was sent.
		}
		applied, unsettled := Settle(ctx, s, path, look)
		switch {
		case unsettled != nil:
			return &session.RequestError{Op: "settle", Path: path, Outcome: session.Indeterminate, Err: unsettled}
		case applied:
			return nil
		case !session.ConnectionLost(err):
			// The answer proved nothing, but `look` has shown that nothing was applied.
			return &session.RequestError{Op: "settle", Path: path, Outcome: session.Failed, Err: err}
		}
	}
}

// Settle finds out whether a write was applied. Like [Once], it sends a [ReadBarrier] on path and
// then calls the function `look`. It retries while the error is session.Transient. If Settle
// returns an error, it is unknown whether the write was applied.
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
