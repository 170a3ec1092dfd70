package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/queue"
)

func newQueue(e *ensemble, o queue.Options[string]) (*queue.Queue[string], *requests) {
	s, r := e.open()
	return queue.New(s, "/app/q", o), r
}

// Covers Q4.
func TestItemsComeInTheOrderPut(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		q, _ := newQueue(e, queue.Options[string]{})
		ctx := t.Context()
		var want []string
		for _, n := range []int{1, 3, 1, 70, 200, 1} {
			items := numbers(len(want), n)
			check(t, q.Put(ctx, items...))
			want = append(want, items...)
		}
		var got []string
		for _, n := range []int{1, 2, 65, 1, 1, 1000, 1000} {
			for len(got) < len(want) {
				got = append(got, must[[]string](t)(q.TakeBatch(ctx, n))...)
				if n < 1000 {
					break
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		if _, err := q.TryTake(ctx); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// Covers Q6.
func TestBlockedTakeWakes(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		q, _ := newQueue(e, queue.Options[string]{})
		p, _ := newQueue(e, queue.Options[string]{})
		got := make(chan string, 10)
		for range 3 {
			go func() { got <- must[string](t)(q.Take(t.Context())) }()
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		start := time.Now()
		check(t, p.Put(t.Context(), "a"))
		if v := <-got; v != "a" {
			t.Errorf("got %q", v)
		}
		check(t, p.Put(t.Context(), "b", "c"))
		if v, w := <-got, <-got; v == w || v > "c" || w > "c" {
			t.Errorf("got %q and %q", v, w)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestClaimAckReleaseReject(t *testing.T) {
	bubble(t, func(t *testing.T, e *ensemble) {
		q, _ := newQueue(e, queue.Options[string]{})
		ctx := t.Context()
		check(t, q.Put(ctx, "a", "b", "c"))
		a := must[*queue.Claim[string]](t)(q.Claim(ctx))
		b := must[*queue.Claim[string]](t)(q.Claim(ctx))
		if a.Value() != "a" || b.Value() != "b" || a.Attempt() != 1 || b.Token() <= a.Token() {
			t.Errorf("%v %v %v", a.Value(), b.Value(), a.Attempt())
		}
		check(t, a.Release(ctx))
		if context.Cause(a.Context()) != queue.ErrNotClaimed {
			t.Errorf("cause %v", context.Cause(a.Context()))
		}
		check(t, b.Ack(ctx))
		if err := b.Ack(ctx); !errors.Is(err, queue.ErrNotClaimed) {
			t.Errorf("second ack: %v", err)
		}
		c := must[*queue.Claim[string]](t)(q.Claim(ctx))
		check(t, c.Reject(ctx))
		a = must[*queue.Claim[string]](t)(q.Claim(ctx))
		if c.Value() != "c" || a.Value() != "a" || a.Attempt() != 2 {
			t.Errorf("%v, then %v attempt %d", c.Value(), a.Value(), a.Attempt())
		}
		check(t, a.Ack(ctx))
		if v := must[string](t)(q.Dead().Take(ctx)); v != "c" {
			t.Errorf("dead letter %q", v)
		}
		if _, err := q.TryTake(ctx); !errors.Is(err, queue.ErrEmpty) {
			t.Error(err)
		}
	})
}
