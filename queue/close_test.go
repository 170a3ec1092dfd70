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

// If the queue is closed within a loop, the loop gives back the items that it has not reached.
//
// Covers Q8.
func TestCloseGivesBackWhatALoopDidNotGetTo(t *testing.T) {
	for _, claims := range []bool{false, true} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			q, _ := newQueue(w, queue.Options[string]{Prefetch: 8})
			other, _ := newQueue(w, queue.Options[string]{})
			recipetest.Check(t, q.Put(t.Context(), numbers(0, 5)...))
			if claims {
				for c, err := range q.Claims(t.Context()) {
					if errors.Is(err, queue.ErrClosed) {
						break
					}
					recipetest.Check(t, err)
					recipetest.Check(t, q.Close(t.Context()))
					recipetest.Check(t, c.Ack(t.Context()))
				}
			} else {
				for _, err := range q.Items(t.Context()) {
					if errors.Is(err, queue.ErrClosed) {
						break
					}
					recipetest.Check(t, err)
					recipetest.Check(t, q.Close(t.Context()))
				}
			}
			synctest.Wait()
			if got := drain(t, other); !slices.Equal(got, numbers(1, 4)) {
				t.Errorf("claims=%v: items left: got %q, want %q", claims, got, numbers(1, 4))
			}
		})
	}
}

// A claim continues after Close of its handle. Its item is still given back when the claim's time
// is up or its session ends.
//
// Covers Q11.
func TestClaimOutlivesClose(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, _ := newQueue(w, queue.Options[string]{ClaimFor: time.Second})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), numbers(0, 3)...))
		acked := recipetest.Must(q.Claim(t.Context()))
		recipetest.Must(q.Claim(t.Context()))
		rejected := recipetest.Must(q.Claim(t.Context()))
		recipetest.Check(t, q.Close(t.Context()))
		recipetest.Check(t, acked.Ack(t.Context()))
		recipetest.Check(t, rejected.Reject(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		item, err := other.Take(ctx)
		recipetest.Check(t, err)
		if item != "item-000001" {
			t.Errorf("Take: got %q, want %q", item, "item-000001")
		}
		recipetest.Check(t, other.Close(t.Context()))
		synctest.Wait() // q removes its ledger node after the last claim was given back
		if left := w.Nodes(path + "/marks"); len(left) > 0 {
			t.Errorf("ledger nodes left by closed queues: got %v, want none", left)
		}
	})
}

// Covers Q6, Q11.
func TestItemOfAClosedQueueIsOfferedWhenItsSessionEnds(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		s := w.Client()
		q := queue.New(s.Session, path, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "a"))
		recipetest.Must(q.Claim(t.Context()))
		recipetest.Check(t, q.Close(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, func() { w.Expire(s.ID()) })
		_, err := other.Take(ctx)
		recipetest.Check(t, err)
	})
}
