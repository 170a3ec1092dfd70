package queue_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/faulttest"
	"github.com/zkcoord/zkcoord/queue"
)

// Covers Q8. A queue that is closed within a loop takes nothing with it.
func TestCloseGivesBackWhatALoopDidNotGetTo(t *testing.T) {
	for _, claims := range []bool{false, true} {
		faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
			q, _ := newQueue(e, queue.Options[string]{Prefetch: 8})
			other, _ := newQueue(e, queue.Options[string]{})
			faulttest.Check(t, q.Put(t.Context(), numbers(0, 5)...))
			if claims {
				for c := range q.Claims(t.Context()) {
					faulttest.Check(t, q.Close(t.Context()))
					faulttest.Check(t, c.Ack(t.Context()))
				}
			} else {
				for range q.Items(t.Context()) {
					faulttest.Check(t, q.Close(t.Context()))
				}
			}
			synctest.Wait()
			if got := drain(t, other); !slices.Equal(got, numbers(1, 4)) {
				t.Errorf("claims %v: left are %v", claims, got)
			}
		})
	}
}

// Covers Q11. A claim outlives its queue's handle, and is given back all the
// same when its time is up, or its session ends.
func TestClaimOutlivesClose(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		q, _ := newQueue(e, queue.Options[string]{ClaimFor: time.Second})
		other, _ := newQueue(e, queue.Options[string]{})
		faulttest.Check(t, q.Put(t.Context(), numbers(0, 3)...))
		acked := faulttest.Must(q.Claim(t.Context()))
		faulttest.Must(q.Claim(t.Context()))
		rejected := faulttest.Must(q.Claim(t.Context()))
		faulttest.Check(t, q.Close(t.Context()))
		faulttest.Check(t, acked.Ack(t.Context()))
		faulttest.Check(t, rejected.Reject(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		item, err := other.Take(ctx)
		faulttest.Check(t, err)
		if item != "item-000001" {
			t.Errorf("got %s", item)
		}
		faulttest.Check(t, other.Close(t.Context()))
		s, _ := e.Open()
		if left := faulttest.Znodes(t, s, path+"/marks"); len(left) > 0 {
			t.Errorf("left of closed queues without claims: %v", left)
		}
	})
}

// Covers Q6, Q11.
func TestItemOfAClosedQueueIsOfferedWhenItsSessionEnds(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		s, _ := e.Open()
		q := queue.New(s, path, queue.Options[string]{})
		other, _ := newQueue(e, queue.Options[string]{})
		faulttest.Check(t, q.Put(t.Context(), "a"))
		faulttest.Must(q.Claim(t.Context()))
		faulttest.Check(t, q.Close(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, func() { e.Expire(s.ID()) })
		_, err := other.Take(ctx)
		faulttest.Check(t, err)
	})
}
