package queue_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// Covers Q3. What was taken in one small transaction may be too much for one
// that puts it back.
func TestMoreThanFitsInATransactionIsGivenBack(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		q, _ := newQueue(w, queue.Options[string]{Prefetch: 300})
		other, _ := newQueue(w, queue.Options[string]{})
		big := strings.Repeat("x", 12<<10)
		for range 200 {
			coordtest.Check(t, q.Put(t.Context(), big))
		}
		for range q.Items(t.Context()) {
			break
		}
		synctest.Wait()
		if n := len(drain(t, other)); n != 199 {
			t.Errorf("%d items are left", n)
		}
	})
}

// Items that share a node are written again when they are claimed.
func TestMoreThanFitsInATransactionIsClaimed(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		q, _ := newQueue(w, queue.Options[string]{})
		big := strings.Repeat("x", 7<<10)
		for range 100 {
			coordtest.Check(t, q.Put(t.Context(), big, big))
		}
		n := 0
		for n < 200 {
			claims, err := q.ClaimBatch(t.Context(), 200)
			coordtest.Check(t, err)
			n += len(claims)
			for _, c := range claims {
				coordtest.Check(t, c.Ack(t.Context()))
			}
		}
	})
}

// What fits alone is not refused because others put at the same time.
func TestPutsThatFitAloneAreNotRefusedTogether(t *testing.T) {
	coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
		s := coordtest.Must(session.Open(t.Context(), session.Options{
			Servers: w.Servers(), Dial: w.DialContext, Timeout: coordtest.Timeout, MaxRequest: 10 << 10,
		}))
		defer s.Close()
		q := queue.New(s, path, queue.Options[string]{})
		errs := make(chan error, 20)
		for range 20 {
			go func() { errs <- q.Put(t.Context(), strings.Repeat("x", 8<<10)) }()
		}
		for range 20 {
			coordtest.Check(t, <-errs)
		}
	})
}
