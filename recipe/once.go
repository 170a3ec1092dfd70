package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/session"
)

// Once makes a write that must be applied at most once, where what it makes tells
// whether it was applied: a node under a name that nobody else uses, or a mark that
// nobody else leaves meanwhile. Where other clients may delete or replace that at any
// time, use a [Ledger].
//
// It calls send, and again if the request was not written, or is known to have failed
// with its connection. If it may have been applied, Once calls look behind a
// [ReadBarrier] on path, so that its answer is final: what was lost with its connection
// is applied by the end of that, or never.
//
// A nil error means that it was applied. The outcome of any other error is that of
// [session.OutcomeOf]. It is Indeterminate only if ctx or the session ended on the way,
// or look failed for good.
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
			// An answer that proved nothing, until now.
			return &session.RequestError{Op: "settle", Path: path, Outcome: session.Failed, Err: err}
		}
	}
}

// Settle finds out, as [Once] does, whether a write was applied that may have been. It
// retries where the error is session.Transient. An error says that this cannot be known.
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
