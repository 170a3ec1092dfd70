package queue

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/recipe"
)

// Items returns a loop that takes one item after another, like Take:
//
//	for job, err := range jobs.Items(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// The loop ends when ctx or the session ends, when the queue is closed, or when the queue cannot be
// read. In the last round, the error is the reason for the end: the cause of ctx, ErrClosed, or an
// error of the session. An item that does not decode is moved to the dead letters and yields a
// [*DecodeError], and the loop continues. When the error is not nil, the value is the zero value.
//
// Up to Options.Prefetch items are taken in one transaction. Items that the loop has not reached
// are put back in their places when the loop ends. They are also put back when one round of the
// loop's body takes longer than the session timeout. Therefore a slow consumer does not keep items
// from other consumers.
func (q *Queue[T]) Items(ctx context.Context) iter.Seq2[T, error] {
	back := func(rest []item) {
		recipe.Detach(q.raw.s, func(ctx context.Context) error { return q.raw.giveBack(ctx, rest) })
	}
	return func(yield func(T, error) bool) {
		for {
			got, err := q.raw.get(ctx, q.opts.Prefetch, false)
			if err == nil {
				goOn := deliver(ctx, q.raw, &stock[item]{rest: got, back: back}, func(it item) bool {
					return yield(q.decode(ctx, it))
				})
				if !goOn {
					return
				}
				err = q.raw.ended(ctx, "take")
			}
			if err != nil {
				var none T
				yield(none, fmt.Errorf("queue: take from %s: %w", q.raw.path, err))
				return
			}
		}
	}
}

// A stock contains the items that were fetched but not yet delivered.
type stock[E any] struct {
	back func([]E) // gives the rest back

	mu   sync.Mutex
	rest []E
}

// deliver yields the items in stock until none is left, ctx ends, or the queue is closed. Then it
// returns true. If yield returns false, deliver returns false, and the loop is over. The remaining
// items are given back when deliver returns. They are also given back when one call of yield takes
// longer than the session timeout.
func deliver[E any](ctx context.Context, q *raw, s *stock[E], yield func(E) bool) bool {
	defer s.giveBack()
	timer := time.AfterFunc(q.s.Timeout(), s.giveBack)
	defer timer.Stop()
	for {
		e, ok := s.next()
		if !ok {
			return true
		}
		if !yield(e) {
			return false
		}
		if q.ended(ctx, "take") != nil {
			return true
		}
		timer.Reset(q.s.Timeout())
	}
}

func (s *stock[E]) next() (e E, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) == 0 {
		return e, false
	}
	e, s.rest = s.rest[0], s.rest[1:]
	return e, true
}

// giveBack gives back the items that are still in stock. After that, the stock is empty.
func (s *stock[E]) giveBack() {
	s.mu.Lock()
	rest := s.rest
	s.rest = nil
	s.mu.Unlock()
	if len(rest) > 0 {
		s.back(rest)
	}
}
