package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/internal/under"
	"github.com/zkcoord/zkcoord/session"
)

// ErrReject is for functions given to Do: an error that is ErrReject moves the
// item to the dead letters.
var ErrReject = errors.New("queue: item rejected")

// Do waits for an item, claims it, calls f, and ends the claim as f says: nil acks
// the item, an error that is ErrReject moves it to the dead letters, and any other
// error gives it back. f may end the claim itself, with claim.Ack and ops for
// instance; then Do does not.
//
// The context that f gets is derived from ctx: it has its values and its deadline,
// and ends with it. It ends too, with the cause, when the claim is lost, before
// anybody else can claim the item, and when Do returns. See Claim.Bind.
//
// Do returns the error of Claim, and then f was not called; else the error of f,
// also of one that rejects. If the claim was lost before f had returned, the error
// is also the cause: ErrClaimExpired, session.ErrLeaseLapsed, session.ErrRevoked,
// session.ErrLost or session.ErrClosed. The item goes to somebody else then. A
// context.Canceled that f returns because of the loss is only in the text, so that
// errors.Is finds it only where ctx was cancelled.
//
// The claim is ended also if ctx has ended, and released if f panics. If ctx ends
// while Do waits for the servers to confirm that, the session goes on, and Do
// returns what f returned; or the cause, and session.OutcomeOf is Indeterminate, if
// f returned nil: then the item may be acked, or will be, unless the session ends
// before.
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

// settle ends the claim as the result of Do's function says, also if ctx has
// ended: then the session goes on.
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
			_ = c.Release(ctx) // nobody else does
		}
		return err
	})
	if err != nil && errors.Is(err, context.Cause(ctx)) { // that of ctx: the other errors say what failed
		return fmt.Errorf("queue: %s %s of %s: %w", op, c.ID(), c.q.raw.path, err)
	}
	return err
}

// Bind returns a context for work on the item, for those who claim by hand:
//
//	defer claim.Release(ctx) // an error, and no more, where it was acked
//	working := claim.Bind(ctx)
//
// It has the values and the deadline of ctx, and ends with it. It ends too, with
// the cause, when the claim does: before anybody else can claim the item. Nothing
// has to be released; what Bind registers goes when the claim ends, or when ctx
// does.
//
// Where somebody deletes the claim's node, or the queue, the context ends soon
// after, when it is known not to be an Ack that deleted it.
func (c *Claim[T]) Bind(ctx context.Context) context.Context { return c.bound.Bind(ctx) }
