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
	"github.com/zkcoord/zkcoord/internal/under"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Token grows with every claim, over the whole ensemble: it is the transaction
// (czxid) that made the claim. Give it to the resource that the work changes, and
// let the resource refuse any token below the largest that it has seen. Items
// claimed in one transaction share one.
type Token int64

// A Claim is an item that this session works on and nobody else gets. It ends
// with Ack, Release or Reject; when the session's lease lapses or its time is
// up, and then the item goes to somebody else.
type Claim[T any] struct {
	q    *Queue[T]
	item item
	hold *recipe.Hold

	bound under.Holding   // ends with the claim, and its contexts with it
	ctx   context.Context // bound to it, and to nothing else

	value T

	turn chan struct{} // held by the call that changes the claim
	over bool          // acked, released or rejected; guarded by turn

	unwatch func() bool // makes the end of the hold go unnoticed

	mu    sync.Mutex
	timer *time.Timer // nil without a limit
	until time.Time   // when its time is up
}

// Value is the item.
func (c *Claim[T]) Value() T { return c.value }

// Attempt counts the claims of the item, from 1, this one included.
func (c *Claim[T]) Attempt() int { return c.item.attempts }

// Token is the claim's fencing token.
func (c *Claim[T]) Token() Token { return Token(c.item.token) }

// ID names the item for as long as it is in the queue.
func (c *Claim[T]) ID() string {
	return fmt.Sprintf("%d/%s/%s", c.item.level, c.item.segment.name(), c.item.run.tagged("").name())
}

// Context ends when the item may no longer be worked on, before anybody else
// can claim it: see recipe.Hold. The cause is ErrNotClaimed,
// ErrClaimExpired, session.ErrLeaseLapsed, session.ErrRevoked,
// session.ErrLost or session.ErrClosed. It has neither the end nor the values of
// the context that Claim was called with: work under the context of Do or Bind,
// which has both.
func (c *Claim[T]) Context() context.Context { return c.ctx }

// Deadline is when Context ends if no server is heard from, or earlier, when the
// time of the claim is up. The session makes the former later several times in each
// session timeout, and Extend the latter. Once Context has ended it says nothing.
func (c *Claim[T]) Deadline() time.Time {
	deadline := c.hold.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && c.until.Before(deadline) {
		return c.until
	}
	return deadline
}

// Ack takes the item out of the queue for good and applies ops, in one
// transaction: both happen, or neither. It fails if the item is no longer
// claimed. After a Failed error the claim goes on, for instance if ctx had ended
// before; a *session.MultiError in it speaks of ops. Indeterminate is left only if
// ctx or the session ended while the request was under way; then the claim is over.
func (c *Claim[T]) Ack(ctx context.Context, ops ...session.Op) error {
	own := recipe.CloneOps(ops)
	return c.finish(ctx, "ack", session.Failed, func(ctx context.Context) error {
		return c.revoked(len(own), c.q.raw.txn(ctx, append(own, c.q.raw.ackOps(c.item)...)...))
	})
}

// Release gives the item back, at its place in the queue. The claim ends first. It
// fails if the item is no longer claimed.
//
// ctx bounds the wait for the servers' answer, not the release. If it has ended,
// or ends before the answer, the error is Indeterminate with its cause, the claim
// is over, and the session goes on giving the item back: so defer
// claim.Release(ctx) gives an item back that was not acked, however ctx ended.
func (c *Claim[T]) Release(ctx context.Context) error {
	return c.finish(ctx, "release", session.Indeterminate, func(ctx context.Context) error {
		c.leave() // before anybody else can have the item
		return c.revoked(0, c.q.raw.txn(ctx, append(c.q.raw.releaseOps(c.item), c.item.stands())...))
	})
}

// Reject moves the item to the dead letters. The claim ends first. If Reject fails,
// the claim is over all the same and the item is offered again, unless ctx had
// ended before: then nothing was done.
func (c *Claim[T]) Reject(ctx context.Context) error {
	return c.finish(ctx, "reject", session.Failed, func(ctx context.Context) error {
		c.leave() // before anybody else can have the dead letter
		return c.revoked(0, c.q.dead.put(ctx, &putJob{items: [][]byte{c.item.data}, origin: c.item.run.origin(), also: c.q.raw.ackOps(c.item)}))
	})
}

// Extend makes the claim last for d from now on. No request is made. It fails
// if the claim has ended, and with session.ErrInvalid if d is not positive. It does
// nothing if claims last with the session.
func (c *Claim[T]) Extend(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("queue: extend claim of %s: %w", c.ID(), invalid.New("by %v, which is not positive", d))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The hold ends first: what ends the context may have to wait.
	if err := cmp.Or(context.Cause(c.ctx), context.Cause(c.hold.Context())); err != nil {
		return fmt.Errorf("queue: extend claim of %s: %w", c.ID(), err)
	}
	if c.timer != nil {
		c.until = time.Now().Add(d)
		c.timer.Reset(d)
	}
	return nil
}

// expire runs when the time is up, unless it was extended just then.
func (c *Claim[T]) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !time.Now().Before(c.until) {
		c.hold.End(ErrClaimExpired)
	}
}

// finish ends the claim by the transaction f, which goes on when ctx ends. Where
// the caller does not learn whether it was applied, the claim is over too. Where ctx
// ends before the transaction was begun, late is the effect: Indeterminate ends
// the claim then, and lapsed gives the item back.
func (c *Claim[T]) finish(ctx context.Context, op string, late session.Outcome, f func(context.Context) error) error {
	ctx, cancel := c.bound.Unbind(ctx)
	defer cancel()
	err := c.take(ctx, late)
	if err == nil {
		err = c.q.raw.carryOut(ctx, func(ctx context.Context) error {
			defer func() { <-c.turn }()
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

// revoked looks whether a transaction failed behind its first n ops because
// somebody deleted the claim: then another one may be in its place.
func (c *Claim[T]) revoked(n int, err error) error {
	part := (*session.MultiError)(nil)
	if errors.As(err, &part) && part.Index >= n && (errors.Is(part, session.ErrNoNode) || errors.Is(part, session.ErrBadVersion)) {
		c.hold.End(session.ErrRevoked)
		return c.refused(session.ErrRevoked)
	}
	return err
}

// take waits until the claim may be ended, and takes the turn to do so. It is
// not waited for where the claim is over: what took it last may not have run
// before the session ended, and never gives it back. Where ctx ends first, late is the
// effect of the call.
func (c *Claim[T]) take(ctx context.Context, late session.Outcome) error {
	if ctx.Err() == nil {
		select {
		case c.turn <- struct{}{}:
			if c.ctx.Err() == nil {
				return nil
			}
			<-c.turn
		case <-c.ctx.Done():
		case <-ctx.Done():
		}
	}
	if cause := context.Cause(c.ctx); cause != nil {
		return c.refused(cause)
	}
	return &session.RequestError{Op: "txn", Path: c.q.raw.path, Outcome: late, Err: context.Cause(ctx)}
}

func (c *Claim[T]) refused(err error) error {
	return &session.RequestError{Op: "txn", Path: c.q.raw.path, Outcome: session.Failed, Err: err}
}

// lost ends the context when the hold does. It is called before the hold's end goes
// on, and must not block. A deletion of the claim may be the claim's own: lapsed
// finds that out.
func (c *Claim[T]) lost(cause error) {
	if !errors.Is(cause, session.ErrRevoked) {
		c.bound.End(cause)
	}
}

// lapsed runs when the hold has ended by itself. It gives the item to others,
// if the session lives; else the servers do.
func (c *Claim[T]) lapsed() {
	cause := context.Cause(c.hold.Context())
	released := recipe.Detach(c.q.raw.s, func(ctx context.Context) error {
		// The turn first: a transaction under way was sent while the claim
		// stood, and must not meet the claim of somebody else. Nor is it told
		// from its own deletion of the claim before it has been answered.
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		defer func() { <-c.turn }()
		if c.over {
			return nil
		}
		c.end(cause)
		defer c.finished()
		return c.q.raw.unclaim(ctx, c.item)
	})
	<-released // at the latest when the session is over
	c.bound.End(cause)
}

// leave ends the claim's context. If the call that has the turn does not end the
// claim at the servers, lapsed does.
func (c *Claim[T]) leave() {
	c.bound.End(ErrNotClaimed)
	c.hold.End(ErrNotClaimed)
}

// finished notes that nothing of the claim is left, for who has the turn.
func (c *Claim[T]) finished() {
	c.over = true
	c.q.raw.unclaimed(1)
}

// end ends the claim's context, and what would end it by itself.
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

// Claim waits for an item and claims it: nobody else gets it while the claim
// stands. If ctx ends first nothing stays claimed.
func (q *Queue[T]) Claim(ctx context.Context) (*Claim[T], error) {
	claims, err := q.ClaimBatch(ctx, 1)
	if err != nil {
		return nil, err
	}
	return claims[0], nil
}

// ClaimBatch claims at least one item and up to n, in one transaction. It fails with
// session.ErrInvalid if n is below 1.
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

// An admission is a claim, or the *DecodeError of an item in the dead letters.
type admission[T any] struct {
	claim *Claim[T]
	err   error
}

// claimSome waits for items and claims up to n. The result may be empty.
func (q *Queue[T]) claimSome(ctx context.Context, n int) (_ []admission[T], err error) {
	ctx, done := recipe.Acquire(ctx, q.raw.s, "claim", q.raw.path)
	defer func() { done(err) }()
	items, err := q.raw.get(ctx, n, true)
	if err != nil {
		return nil, err
	}
	return q.claimed(ctx, items)
}

// claimed makes claims of items. Those that were claimed too often, or do not
// decode, go to the dead letters instead. On an error nothing stays claimed.
func (q *Queue[T]) claimed(ctx context.Context, items []item) ([]admission[T], error) {
	claims := make([]*Claim[T], 0, len(items))
	for _, it := range items {
		c := &Claim[T]{q: q, item: it, turn: make(chan struct{}, 1)}
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

// admit waits for the lease, or moves the item to the dead letters and returns
// false.
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

// drop ends claims whose caller does not get them.
func drop[T any](claims []*Claim[T], cause error) {
	for _, c := range claims {
		c.hold.End(cause)
	}
}

// Claims claims items, one after the other. The loop ends as that over
// [Queue.Items] does, with the reason as the error of its last round, and an
// item that does not decode comes as a [*DecodeError] in the same way. With an
// error the claim is nil. Up to Options.Prefetch items are claimed in one transaction; those that the loop
// has not got to are given back when it ends, and when one round of its body
// takes longer than the session timeout. The loop's body, or whoever it gives
// the claim to, has to Ack, Release or Reject it.
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
