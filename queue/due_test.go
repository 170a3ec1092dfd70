package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/faulttest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// A consumer that waits for an item to be due asks for it then, and not all the
// time before.
func TestWaitingForADelayedItemCostsFewRequests(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		q, r := newQueue(e, queue.Options[string]{})
		p, _ := newQueue(e, queue.Options[string]{})
		faulttest.Check(t, p.Put(t.Context(), "first"))
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1600 * time.Millisecond)))
		got := make(chan string, 2)
		go func() {
			for range 2 {
				got <- faulttest.Must(q.Take(t.Context()))
			}
		}()
		<-got
		synctest.Wait()
		r.Since()
		at := time.Now().Truncate(time.Second).Add(time.Second)
		faulttest.Check(t, p.PutAt(t.Context(), at, "later"))
		<-got
		if late := time.Since(at); late > time.Second {
			t.Errorf("%v late", late)
		}
		if n := r.Since(); n.Total() > 60 {
			t.Errorf("%d requests: %v", n.Total(), n)
		}
	})
}

// Nor does it ask all the time where something that is not an item keeps a slot
// from being removed.
func TestForeignNodeAmongDelayedItemsCostsFewRequests(t *testing.T) {
	faulttest.Bubble(t, func(t *testing.T, e *faulttest.Ensemble) {
		q, r := newQueue(e, queue.Options[string]{})
		p, _ := newQueue(e, queue.Options[string]{})
		faulttest.Check(t, p.PutAt(t.Context(), time.Now().Add(time.Second), "a"))
		s, _ := e.Open()
		slot := faulttest.Znodes(t, s, path+"/delayed")[0]
		faulttest.Must(s.Create(t.Context(), slot+"/foreign", nil, session.Persistent))
		faulttest.Must(q.Take(t.Context()))
		go func() {
			time.Sleep(5 * time.Second)
			faulttest.Check(t, p.Put(t.Context(), "b"))
		}()
		faulttest.Must(q.Take(t.Context()))
		if n := r.Since(); n.Total() > 200 {
			t.Errorf("%d requests: %v", n.Total(), n)
		}
	})
}
