package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/under"
	"github.com/zkcoord/zkcoord/session"
)

// Do waits for an item, claims it, and calls f. It then ends the claim according to the result of
// f. If f returns nil, Do acks the item. If f returns an error that wraps ErrReject, Do moves the
// item to the dead letters. On any other error, Do gives the item back. If f itself has ended the
// claim, for example by claim.Ack with ops, Do does not end it again.
//
// The context that f gets is derived from ctx: it has the values and the deadline of ctx, and ends
// with ctx. It also ends, with the cause, when the claim is lost, before any other consumer can
// claim the item. When Do returns, this context ends too. See Claim.Bind.
//
// If Claim fails, Do returns the error of Claim and does not call f. Otherwise Do returns the error
// of f, even if that error rejects the item. If the claim was lost before f returned, the error
// also wraps the cause: ErrClaimExpired, session.ErrLeaseLapsed, session.ErrRevoked,
// session.ErrUnreadable, session.ErrLost or session.ErrClosed. Another consumer gets the item then.
// If f returns context.Canceled because of the loss, the error of Do contains context.Canceled only
// as text. Therefore errors.Is reports context.Canceled only if ctx was cancelled.
//
// Do ends the claim even if ctx has ended, and releases it if f panics. If ctx ends before the
// servers have confirmed the end of the claim, the session completes the request. Do then returns
// the error of f. If f returned nil, Do returns the cause of ctx instead, and session.OutcomeOf is
// Indeterminate: the item was acked, or will be, unless the session ends before that.
func (q *Queue[T]) Do(ctx context.Context, f func(ctx context.Context, claim *Claim[T]) error) error {
	claim, err := q.Claim(ctx)
	if err != nil {
		return err
	}
	return under.Do(ctx, under.Work{
		Held:     claim,
		Name:     fmt.Sprintf("queue: lost claim of %s of %s", claim.ID(), q.raw.path),
		Released: ErrNotClaimed,
		Release:  claim.settle,
		Confirm:  true,
	}, func(ctx context.Context) error { return f(ctx, claim) })
}

// settle ends the claim according to the result of Do's function. If ctx ends, settle does not wait
// any longer, but the session still ends the claim.
func (c *Claim[T]) settle(ctx context.Context, result error) error {
	op, end := "ack", func(ctx context.Context) error { return c.Ack(ctx) }
	switch {
	case errors.Is(result, ErrReject):
		op, end = "reject", c.Reject
	case result != nil:
		return c.Release(ctx)
	}
	if cause := context.Cause(c.ctx); cause != nil {
		return c.refused(cause)
	}
	err := c.q.raw.carryOut(ctx, func(ctx context.Context) error {
		err := end(ctx)
		if session.OutcomeOf(err) == session.Failed && c.ctx.Err() == nil {
			_ = c.Release(ctx) // otherwise the claim would continue, because no other code releases it
		}
		return err
	})
	// Errors of Ack and Reject name the item. The error that carryOut returns when ctx ends does
	// not.
	if err != nil && errors.Is(err, context.Cause(ctx)) {
		return fmt.Errorf("queue: %s %s of %s: %w", op, c.ID(), c.q.raw.path, err)
	}
	return err
}
