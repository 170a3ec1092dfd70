package queue

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/recipe"
)

// Items takes items, one after the other, as Take does:
//
//	for job, err := range jobs.Items(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// The loop ends when ctx or the session ends, when the queue is closed, or when
// it cannot be read. Its last round then has the reason as its error: the cause
// of ctx, ErrClosed, or an error of the session. An item that does not decode
// comes as a [*DecodeError], after it was moved to the dead letters, and the loop
// goes on. With an error the value is the zero value.
//
// Up to Options.Prefetch items are taken in one transaction. Those that the
// loop has not got to are put back in their places when it ends, and when one
// round of its body takes longer than the session timeout, so that nobody waits
// for items that nobody works on.
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

// A stock is what was fetched and not delivered yet.
type stock[E any] struct {
	back func([]E) // where the rest goes

	mu   sync.Mutex
	rest []E
}

// deliver yields what is in stock, until ctx ends or the queue is closed. It
// returns false if yield did: then the loop is over.
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

// giveBack gives the rest back, once.
func (s *stock[E]) giveBack() {
	s.mu.Lock()
	rest := s.rest
	s.rest = nil
	s.mu.Unlock()
	if len(rest) > 0 {
		s.back(rest)
	}
}
