package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
)

// Items are taken in the order of their puts, whatever the sizes of the batches are.
//
// Covers Q4.
func TestItemsComeInTheOrderPut(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		ctx := t.Context()
		var want []string
		for _, n := range []int{1, 3, 1, 70, 200, 1} {
			items := numbers(len(want), n)
			recipetest.Check(t, q.Put(ctx, items...))
			want = append(want, items...)
		}
		var got []string
		for _, n := range []int{1, 2, 65, 1, 1, 1000, 1000} {
			for len(got) < len(want) {
				got = append(got, recipetest.Must(q.TakeBatch(ctx, n))...)
				if n < 1000 {
					break
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("items: got %q, want %q", got, want)
		}
		if _, err := q.TryTake(ctx); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("TryTake of a drained queue: got %v, want %v", err, queue.ErrEmpty)
		}
	})
}

// A Take that has waited for a minute returns within a second after a put.
//
// Covers Q6.
func TestBlockedTakeWakes(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		p, _ := newQueue(w, queue.Options[string]{})
		got := make(chan string, 10)
		for range 3 {
			go func() { got <- recipetest.Must(q.Take(t.Context())) }()
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		start := time.Now()
		recipetest.Check(t, p.Put(t.Context(), "a"))
		if v := <-got; v != "a" {
			t.Errorf("Take: got %q, want %q", v, "a")
		}
		recipetest.Check(t, p.Put(t.Context(), "b", "c"))
		if v, w := <-got, <-got; v+w != "bc" && v+w != "cb" {
			t.Errorf("Take: got %q and %q, want %q and %q", v, w, "b", "c")
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("three takes after their puts: got %v, want at most 1s", d)
		}
	})
}

func TestClaimAckReleaseReject(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		ctx := t.Context()
		recipetest.Check(t, q.Put(ctx, "a", "b", "c"))
		a := recipetest.Must(q.Claim(ctx))
		b := recipetest.Must(q.Claim(ctx))
		if a.Value() != "a" || b.Value() != "b" || a.Attempt() != 1 || b.Token() <= a.Token() {
			t.Errorf("claims: got %q attempt %d token %d, then %q token %d, want %q attempt 1, then %q and a larger token", a.Value(), a.Attempt(), a.Token(), b.Value(), b.Token(), "a", "b")
		}
		recipetest.Check(t, a.Release(ctx))
		if context.Cause(a.Context()) != queue.ErrNotClaimed {
			t.Errorf("cause of the claim's context: got %v, want %v", context.Cause(a.Context()), queue.ErrNotClaimed)
		}
		recipetest.Check(t, b.Ack(ctx))
		if err := b.Ack(ctx); !errors.Is(err, queue.ErrNotClaimed) {
			t.Errorf("second Ack: got %v, want %v", err, queue.ErrNotClaimed)
		}
		c := recipetest.Must(q.Claim(ctx))
		recipetest.Check(t, c.Reject(ctx))
		a = recipetest.Must(q.Claim(ctx))
		if c.Value() != "c" || a.Value() != "a" || a.Attempt() != 2 {
			t.Errorf("claims: got %q, then %q attempt %d, want %q, then %q attempt 2", c.Value(), a.Value(), a.Attempt(), "c", "a")
		}
		recipetest.Check(t, a.Ack(ctx))
		if v := recipetest.Must(q.DeadLetters().Take(ctx)); v != "c" {
			t.Errorf("dead letter: got %q, want %q", v, "c")
		}
		if _, err := q.TryTake(ctx); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("TryTake at the end: got %v, want %v", err, queue.ErrEmpty)
		}
	})
}
