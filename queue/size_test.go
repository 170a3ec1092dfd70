package queue_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/faulttest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// Covers Q3. What was taken in one small transaction may be too much for one
// that puts it back.
func TestMoreThanFitsInATransactionIsGivenBack(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		q, _ := newQueue(e, queue.Options[string]{Prefetch: 300})
		other, _ := newQueue(e, queue.Options[string]{})
		big := strings.Repeat("x", 12<<10)
		for range 200 {
			faulttest.Check(t, q.Put(t.Context(), big))
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
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		q, _ := newQueue(e, queue.Options[string]{})
		big := strings.Repeat("x", 7<<10)
		for range 100 {
			faulttest.Check(t, q.Put(t.Context(), big, big))
		}
		n := 0
		for n < 200 {
			claims, err := q.ClaimBatch(t.Context(), 200)
			faulttest.Check(t, err)
			n += len(claims)
			for _, c := range claims {
				faulttest.Check(t, c.Ack(t.Context()))
			}
		}
	})
}

// What fits alone is not refused because others put at the same time.
func TestPutsThatFitAloneAreNotRefusedTogether(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		s := faulttest.Must(session.Open(t.Context(), session.Options{
			Servers: e.Servers(), Dial: e.DialContext, Timeout: faulttest.Timeout, MaxRequest: 10 << 10,
		}))
		defer s.Close()
		q := queue.New(s, path, queue.Options[string]{})
		errs := make(chan error, 20)
		for range 20 {
			go func() { errs <- q.Put(t.Context(), strings.Repeat("x", 8<<10)) }()
		}
		for range 20 {
			faulttest.Check(t, <-errs)
		}
	})
}
