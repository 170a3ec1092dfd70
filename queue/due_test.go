package queue_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// A consumer that waits until a delayed item is due does not poll meanwhile.
func TestWaitingForADelayedItemCostsFewRequests(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, r := newQueue(w, queue.Options[string]{})
		p, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, p.Put(t.Context(), "first"))
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1600 * time.Millisecond)))
		got := make(chan string, 2)
		go func() {
			for range 2 {
				got <- recipetest.Must(q.Take(t.Context()))
			}
		}()
		<-got
		synctest.Wait()
		r.Count()
		at := time.Now().Truncate(time.Second).Add(time.Second)
		recipetest.Check(t, p.PutAt(t.Context(), at, "later"))
		<-got
		if late := time.Since(at); late > time.Second {
			t.Errorf("taken %v after its time, want at most 1s", late)
		}
		if n := r.Count(); n > 60 {
			t.Errorf("got %d requests, want at most 60", n)
		}
	})
}

// The delayed items of one second are stored below one znode, their slot. In this test, another
// program has created a znode in a slot. So the slot cannot be deleted, and remains due.
// Nevertheless, a waiting consumer does not read it all the time, but only about once a second.
func TestForeignNodeAmongDelayedItemsCostsFewRequests(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, r := newQueue(w, queue.Options[string]{})
		p, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, p.PutAt(t.Context(), time.Now().Add(time.Second), "a"))
		s := w.Client()
		slot := w.Nodes(path + "/delayed")[0]
		recipetest.Must(s.Create(t.Context(), slot+"/foreign", nil, session.Persistent))
		recipetest.Must(q.Take(t.Context()))
		go func() {
			time.Sleep(5 * time.Second)
			recipetest.Check(t, p.Put(t.Context(), "b"))
		}()
		recipetest.Must(q.Take(t.Context()))
		if n := r.Count(); n > 200 {
			t.Errorf("got %d requests, want at most 200", n)
		}
	})
}

// A delayed item is not taken before its time, because PutAt rounds the time up, and not down, to a
// whole second. The item's slot is due at this second.
//
// Covers Q13.
func TestDelayedItemsAreNotEarly(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for _, part := range []time.Duration{0, time.Nanosecond, time.Millisecond, 500 * time.Millisecond, time.Second - 1} {
			t.Run(fmt.Sprintf("busy=%v/%v", busy, part), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, _ := newQueue(w, queue.Options[string]{})
					p, _ := newQueue(w, queue.Options[string]{})
					at := time.Now().Truncate(time.Second).Add(3*time.Second + part)
					recipetest.Check(t, p.PutAt(t.Context(), at, "x"))
					time.Sleep(600 * time.Millisecond) // so that the consumer does not check at whole seconds
					for busy {
						recipetest.Check(t, p.Put(t.Context(), "other"))
						if recipetest.Must(q.Take(t.Context())) == "x" {
							break
						}
						time.Sleep(50 * time.Millisecond)
					}
					if !busy {
						recipetest.Must(q.Take(t.Context()))
					}
					if late := time.Since(at); late < 0 || late > 2*time.Second {
						t.Errorf("taken %v after its time, want 0 to 2s", late)
					}
				})
			})
		}
	}
}
