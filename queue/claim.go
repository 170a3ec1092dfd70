package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/turn"
	"github.com/zkcoord/zkcoord/internal/under"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Token is the number of a claim. It is the zxid of the transaction that made the claim, which is
// the czxid of the claim's znode. So a claim that a later transaction makes has a larger token,
// even if it is on another queue of the ensemble. Items that were claimed in one transaction have
// the same token. Pass the token to the resource that the work changes. The resource must refuse
// any token that is smaller than the largest one it has seen.
type Token int64

// A Claim is an item that this session works on. No other consumer gets the item during the claim.
// Ack, Release and Reject end the claim. The claim also ends when the session's lease lapses, or
// when the time of the claim is up (Options.ClaimFor). In these two cases, the item is offered to
// other consumers again.
type Claim[T any] struct {
	q    *Queue[T]
	item item
	hold *recipe.Hold

	bound under.Holding   // ends when the claim ends, and ends the contexts bound to the claim
	ctx   context.Context // bound to the claim, but to no caller's context

	value T

	turn turn.Turn // held by the call that changes the claim
	over bool      // acked, released, rejected, or given back by the method `lapsed`; guarded by turn

	unwatch func() bool // ensures that the end of the hold does not start the method `lapsed`

	mu    sync.Mutex
	timer *time.Timer // nil if the claim's time has no limit
	until time.Time   // the end of the claim's time
}

// Value returns the item.
func (c *Claim[T]) Value() T { return c.value }

// Attempt returns how many times the item was claimed, including this claim. The first attempt is
// 1.
func (c *Claim[T]) Attempt() int { return c.item.attempts }

// Token returns the claim's fencing token.
func (c *Claim[T]) Token() Token { return Token(c.item.token) }

// ID returns a name that identifies the item while it is in the queue.
func (c *Claim[T]) ID() string {
	return fmt.Sprintf("%d/%s/%s", c.item.level, c.item.segment.name(), c.item.run.tagged("").name())
}

// Context returns the context of the claim. It ends when the claim ends, before any other consumer
// can claim the item: see recipe.Hold. The cause is or wraps ErrNotClaimed, ErrClaimExpired,
// session.ErrLeaseLapsed, session.ErrRevoked, session.ErrUnreadable, session.ErrLost or
// session.ErrClosed.
//
// The context does not end with the context that Claim was called with, and does not have its
// values. For the work, use the context of Do or Bind, which is derived from the caller's context.
func (c *Claim[T]) Context() context.Context { return c.ctx }

// Bind returns a context for work on the item. Programs that call Claim themselves use it like
// this:
//
//	defer claim.Release(ctx) // fails without effect if the item was acked
//	working := claim.Bind(ctx)
//
// The context has the values and the deadline of ctx, and ends with ctx. It also ends when the
// claim ends, with the same cause as Context, and before any other consumer can claim the item. The
// caller need not cancel the context: its resources are freed when the claim or ctx ends.
//
// If a client deletes the claim's znode or the queue, the context ends soon after that, but not at
// once. The session first has to find out that the claim's own Ack did not delete the znode.
func (c *Claim[T]) Bind(ctx context.Context) context.Context { return c.bound.Bind(ctx) }

// Deadline returns the time at which Context ends if no server answers until then. It is the
// earlier of two times. One is the deadline of the session's lease, which the session postpones
// several times in each session timeout. The other is the end of the claim's own time, which Extend
// postpones. After Context has ended, Deadline has no meaning.
func (c *Claim[T]) Deadline() time.Time {
	deadline := c.hold.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && c.until.Before(deadline) {
		return c.until
	}
	return deadline
}

// Ack removes the item from the queue and applies ops in one transaction: both happen, or neither.
// It fails if the item is no longer claimed.
//
// If Ack fails for another reason and the outcome is Failed, the claim continues. This happens, for
// example, if ctx had already ended. If the error contains a *session.MultiError, its index refers
// to ops. The error is Indeterminate if ctx ended during the request, if the session ended, if a
// client deleted the handle's ledger znode, or if the server's error does not prove the outcome.
// After an Indeterminate error the claim is over.
func (c *Claim[T]) Ack(ctx context.Context, ops ...session.Op) error {
	own := recipe.CloneOps(ops)
	return c.finish(ctx, "ack", session.Failed, func(ctx context.Context) error {
		return c.revoked(len(own), c.q.raw.txn(ctx, append(own, c.q.raw.ackOps(c.item)...)...))
	})
}

// Release gives the item back, at its place in the queue. It ends the claim first. It fails if the
// item is no longer claimed.
//
// ctx limits the wait for the servers' answer, but not the release. If ctx has ended, or ends
// before the answer, the error is Indeterminate and has the cause of ctx. The claim is over then,
// and the session continues to give the item back. Therefore a deferred claim.Release(ctx) gives
// back an item that was not acked, no matter how ctx ended.
func (c *Claim[T]) Release(ctx context.Context) error {
	return c.finish(ctx, "release", session.Indeterminate, func(ctx context.Context) error {
		c.leave() // before another consumer can have the item
		return c.revoked(0, c.q.raw.txn(ctx, append(c.q.raw.releaseOps(c.item), c.item.stands())...))
	})
}

// Reject moves the item to the dead letters. It ends the claim first. If Reject fails, the claim is
// over and the item is offered again. There is one exception: if ctx had already ended, Reject does
// nothing and the claim continues.
func (c *Claim[T]) Reject(ctx context.Context) error {
	return c.finish(ctx, "reject", session.Failed, func(ctx context.Context) error {
		c.leave() // before another consumer can have the dead letter
		return c.revoked(0, c.q.dead.put(ctx, &putJob{items: [][]byte{c.item.data}, origin: c.item.run.origin(), also: c.q.raw.ackOps(c.item)}))
	})
}

// Extend makes the claim last for d from now. It makes no request. It fails if the claim has ended,
// and with session.ErrInvalid if d is not positive. If claims last until the session ends
// (Options.ClaimFor is zero), Extend does nothing.
func (c *Claim[T]) Extend(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("queue: extend claim of %s of %s: %w", c.ID(), c.q.raw.path, invalid.New("%v is not positive", d))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Check the hold too, because it can end before c.ctx does.
	if err := cmp.Or(context.Cause(c.ctx), context.Cause(c.hold.Context())); err != nil {
		return fmt.Errorf("queue: extend claim of %s of %s: %w", c.ID(), c.q.raw.path, err)
	}
	if c.timer != nil {
		c.until = time.Now().Add(d)
		c.timer.Reset(d)
	}
	return nil
}

// expire runs when the claim's time is up. It does nothing if the claim was extended meanwhile.
func (c *Claim[T]) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !time.Now().Before(c.until) {
		c.hold.End(ErrClaimExpired)
	}
}

// finish ends the claim by the transaction f. If ctx ends after f was started, f continues, and the
// outcome is Indeterminate. The claim is over if f succeeds or if the outcome is Indeterminate.
//
// If ctx ends before f is started, f does not run, and the parameter `late` is the outcome. If
// `late` is session.Failed, the claim continues. If `late` is session.Indeterminate, the claim is
// over, and the method `lapsed` gives the item back. This outcome is Indeterminate because finish
// does not wait for the method `lapsed`.
func (c *Claim[T]) finish(ctx context.Context, op string, late session.Outcome, f func(context.Context) error) error {
	ctx, cancel := c.bound.Unbind(ctx)
	defer cancel()
	err := c.take(ctx, late)
	if err == nil {
		err = c.q.raw.carryOut(ctx, func(ctx context.Context) error {
			defer c.turn.End()
			err := f(ctx)
			if err == nil {
				c.end(ErrNotClaimed)
				c.finished()
			}
			return err
		})
	}
	if session.OutcomeOf(err) == session.Indeterminate {
		c.leave()
	}
	if err != nil {
		return fmt.Errorf("queue: %s %s of %s: %w", op, c.ID(), c.q.raw.path, err)
	}
	return nil
}

// The method `revoked` gets the error of a transaction that ends the claim c. If the error means
// that another client has deleted the claim, the method ends c and returns session.ErrRevoked.
// Otherwise it returns err unchanged. The first n ops of the transaction are the caller's own, so
// their errors say nothing about the claim.
func (c *Claim[T]) revoked(n int, err error) error {
	part := (*session.MultiError)(nil)
	if errors.As(err, &part) && part.Index >= n && (errors.Is(part, session.ErrNoNode) || errors.Is(part, session.ErrBadVersion)) {
		c.hold.End(session.ErrRevoked)
		return c.refused(session.ErrRevoked)
	}
	return err
}

// The method `take` takes c.turn, which a call needs to end the claim. If ctx ends first, the
// outcome of the error is `late`.
//
// If the claim's context has ended, the method fails without waiting for c.turn. Such a wait might
// last forever. A call that has taken c.turn does its work on a goroutine of the session (detached
// work), and this work ends the turn. If the session ends before the work begins, the work never
// runs, and c.turn stays taken.
func (c *Claim[T]) take(ctx context.Context, late session.Outcome) error {
	err := c.turn.Take(ctx, c.ctx)
	if cause := context.Cause(c.ctx); cause != nil {
		if err == nil {
			c.turn.End()
		}
		return c.refused(cause)
	}
	if err != nil {
		return &session.RequestError{Op: "txn", Path: c.q.raw.path, Outcome: late, Err: err}
	}
	return nil
}

func (c *Claim[T]) refused(err error) error {
	return &session.RequestError{Op: "txn", Path: c.q.raw.path, Outcome: session.Failed, Err: err}
}

// The method `lost` ends the claim's context when the hold ends. It must not block, because the
// hold waits for its return. If the claim's znode was deleted, `lost` does nothing, because the
// claim's own Ack may have deleted the znode. The method `lapsed` ends the context in this case.
func (c *Claim[T]) lost(cause error) {
	if !errors.Is(cause, session.ErrRevoked) {
		c.bound.End(cause)
	}
}

// The method `lapsed` runs when the hold has ended, unless the method `end` has run before. It
// gives the item back if the claim is not over and the session lives. If the session has ended, the
// servers give the item back: they delete the claim's znode.
func (c *Claim[T]) lapsed() {
	cause := context.Cause(c.hold.Context())
	released := recipe.Detach(c.q.raw.s, func(ctx context.Context) error {
		// Another call may have sent a transaction that ends the claim, for example an Ack. That
		// call keeps c.turn until the transaction is answered, so wait for c.turn. If the answer
		// says that the transaction has ended the claim, c.over is now true. Otherwise give the
		// item back, even if the outcome of the transaction is unknown. This is safe. If the
		// transaction was applied, the claim is gone, and unclaim changes nothing. If it was not
		// applied, it can no longer be applied after another consumer has claimed the item, because
		// the item's znode then has another version.
		if err := c.turn.Take(ctx, ctx); err != nil {
			return err
		}
		defer c.turn.End()
		if c.over {
			return nil
		}
		c.end(cause)
		defer c.finished()
		return c.q.raw.unclaim(ctx, c.item)
	})
	<-released // wait until this work has ended, which is at the end of the session at the latest
	c.bound.End(cause)
}

// The method `leave` ends the claim's context and its hold, but does not delete the claim's znode.
// The call that has c.turn deletes the znode, or else the method `lapsed` does.
func (c *Claim[T]) leave() {
	c.bound.End(ErrNotClaimed)
	c.hold.End(ErrNotClaimed)
}

// The method `finished` records that the claim is over, so no further request has to end it. The
// caller has c.turn.
func (c *Claim[T]) finished() {
	c.over = true
	c.q.raw.unclaimed(1)
}

// The method `end` ends the claim's context and its hold. It also stops the timer, and prevents a
// later run of the method `lapsed`.
func (c *Claim[T]) end(cause error) {
	c.bound.End(cause)
	c.unwatch()
	c.hold.End(cause)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// Claim waits for an item and claims it. No other consumer gets the item during the claim. If ctx
// ends first, nothing stays claimed.
func (q *Queue[T]) Claim(ctx context.Context) (*Claim[T], error) {
	claims, err := q.ClaimBatch(ctx, 1)
	if err != nil {
		return nil, err
	}
	return claims[0], nil
}

// ClaimBatch waits until at least one item is free, and claims up to n items in one transaction. It
// fails with session.ErrInvalid if n is less than 1.
func (q *Queue[T]) ClaimBatch(ctx context.Context, n int) ([]*Claim[T], error) {
	for {
		got, err := q.claimSome(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("queue: claim from %s: %w", q.raw.path, err)
		}
		claims := make([]*Claim[T], 0, len(got))
		for _, a := range got {
			if a.err == nil {
				claims = append(claims, a.claim)
			}
		}
		if len(claims) > 0 {
			return claims, nil
		}
	}
}

// An admission is a claim, or the *DecodeError of an item that was moved to the dead letters.
type admission[T any] struct {
	claim *Claim[T]
	err   error
}

// claimSome waits for items and claims up to n of them. The result is empty if all of these items
// were moved to the dead letters because they had been claimed too often.
func (q *Queue[T]) claimSome(ctx context.Context, n int) (_ []admission[T], err error) {
	ctx, done := recipe.TraceAcquire(ctx, q.raw.s, "claim", q.raw.path)
	defer func() { done(err) }()
	items, err := q.raw.get(ctx, n, true)
	if err != nil {
		return nil, err
	}
	return q.claimed(ctx, items)
}

// The method `claimed` converts items into claims. Items that were claimed too often, or that do
// not decode, move to the dead letters instead. On an error nothing stays claimed.
func (q *Queue[T]) claimed(ctx context.Context, items []item) ([]admission[T], error) {
	claims := make([]*Claim[T], 0, len(items))
	for _, it := range items {
		c := &Claim[T]{q: q, item: it}
		c.hold = recipe.NewHold(q.raw.s, recipe.Node{Path: q.raw.claimPath(it), Czxid: it.token})
		c.ctx = c.bound.Bind(context.Background())
		c.hold.Describe("claim", it.token, it.run.origin())
		c.hold.OnEnd(c.lost)
		c.unwatch = context.AfterFunc(c.hold.Context(), c.lapsed)
		claims = append(claims, c)
	}
	admitted := make([]admission[T], 0, len(claims))
	for _, c := range claims {
		value, undecoded := q.opts.Codec.Decode(c.item.data)
		granted, err := c.admit(ctx, value, undecoded)
		switch {
		case err != nil:
			drop(claims, err)
			return nil, err
		case granted:
			admitted = append(admitted, admission[T]{claim: c})
		case undecoded != nil:
			admitted = append(admitted, admission[T]{err: &DecodeError{Data: c.item.data, Err: undecoded}})
		}
	}
	return admitted, nil
}

// admit waits until the session's lease stands, and returns true. If the item does not decode or
// was claimed too often, admit moves it to the dead letters and returns false.
func (c *Claim[T]) admit(ctx context.Context, value T, undecoded error) (bool, error) {
	if limit := c.q.opts.MaxAttempts; undecoded != nil || limit > 0 && c.item.attempts > limit {
		return false, c.Reject(ctx)
	}
	if err := c.hold.Grant(ctx); err != nil {
		return false, err
	}
	c.value = value
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.q.opts.ClaimFor; d > 0 {
		c.until = time.Now().Add(d)
		c.timer = time.AfterFunc(d, c.expire)
	}
	return true, nil
}

// drop ends claims that are not returned to the caller.
func drop[T any](claims []*Claim[T], cause error) {
	for _, c := range claims {
		c.hold.End(cause)
	}
}

// Claims returns a loop that claims one item after another. The body of the loop must Ack, Release
// or Reject each claim, or pass it to code that does.
//
// The loop ends for the same reasons as a loop over [Queue.Items]. In the last round, the error is
// the reason for the end. An item that does not decode yields a [*DecodeError], and the loop
// continues. When the error is not nil, the claim is nil.
//
// Up to Options.Prefetch items are claimed in one transaction. Items that the loop has not reached
// are given back when the loop ends. They are also given back when one round of the loop's body
// takes longer than the session timeout.
func (q *Queue[T]) Claims(ctx context.Context) iter.Seq2[*Claim[T], error] {
	back := func(rest []admission[T]) {
		for _, a := range rest {
			if a.err == nil {
				a.claim.hold.End(ErrNotClaimed)
			}
		}
	}
	return func(yield func(*Claim[T], error) bool) {
		for {
			got, err := q.claimSome(ctx, q.opts.Prefetch)
			if err == nil {
				goOn := deliver(ctx, q.raw, &stock[admission[T]]{rest: got, back: back}, func(a admission[T]) bool {
					return yield(a.claim, a.err)
				})
				if !goOn {
					return
				}
				err = q.raw.ended(ctx, "claim")
			}
			if err != nil {
				yield(nil, fmt.Errorf("queue: claim from %s: %w", q.raw.path, err))
				return
			}
		}
	}
}
