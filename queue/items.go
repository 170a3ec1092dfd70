package queue

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Items takes items, one after the other, as Take does. The loop ends when ctx
// or the session does, when the queue is closed, or when it cannot be read;
// a further Take tells the reason. Items that do not decode are left out: they
// are in the dead letters.
//
// Up to Options.Prefetch items are taken in one transaction. Those that the
// loop has not got to are put back in their places when it ends, and when one
// round of its body takes longer than the session timeout, so that nobody waits
// for items that nobody works on.
func (q *Queue[T]) Items(ctx context.Context) iter.Seq[T] {
	back := func(rest []item) {
		q.raw.s.Detach(func(ctx context.Context) error { return q.raw.giveBack(ctx, rest) })
	}
	return func(yield func(T) bool) {
		for {
			got, err := q.raw.get(ctx, q.opts.Prefetch, false)
			if err != nil {
				return
			}
			going := deliver(ctx, q.raw, &stock[item]{rest: got, back: back}, func(it item) bool {
				value, err := q.decode(ctx, it)
				return err != nil || yield(value)
			})
			if !going {
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

// deliver yields what is in stock. It returns false if the loop ended before
// all of it was delivered or is to end now.
func deliver[E any](ctx context.Context, q *raw, s *stock[E], yield func(E) bool) bool {
	defer s.giveBack()
	timer := time.AfterFunc(q.s.Timeout(), s.giveBack)
	defer timer.Stop()
	for {
		e, ok := s.next()
		if !ok {
			return true
		}
		if !yield(e) || ctx.Err() != nil || q.open.Err() != nil {
			return false
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
