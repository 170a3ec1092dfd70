package queue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// An item that is given back wakes a waiting consumer, even if the item is not in the open segment.
// The open segment is the one in which producers put items, and the only segment that the consumer
// watches.
//
// Covers Q6, Q11.
func TestItemGivenBackWakes(t *testing.T) {
	// Each function gets the only free item, and that item is given back within about a second.
	gives := map[string]func(t *testing.T, w *recipetest.World, q *queue.Queue[string], s *recipetest.Client){
		"claim released": func(t *testing.T, _ *recipetest.World, q *queue.Queue[string], _ *recipetest.Client) {
			c := recipetest.Must(q.Claim(t.Context()))
			time.AfterFunc(time.Second/2, func() { recipetest.Check(t, c.Release(t.Context())) })
		},
		"claim expired": func(t *testing.T, _ *recipetest.World, q *queue.Queue[string], _ *recipetest.Client) {
			recipetest.Must(q.Claim(t.Context()))
		},
		"claim of a session that ended": func(t *testing.T, _ *recipetest.World, q *queue.Queue[string], s *recipetest.Client) {
			recipetest.Must(q.Claim(t.Context()))
			time.AfterFunc(time.Second, func() { s.Close() })
		},
		"claim given up": func(t *testing.T, w *recipetest.World, q *queue.Queue[string], s *recipetest.Client) {
			w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Claim(ctx); session.OutcomeOf(err) != session.Indeterminate {
				t.Errorf("Claim: got %v, outcome %v, want outcome %v",
					err, session.OutcomeOf(err), session.Indeterminate)
			}
		},
		"take given up": func(t *testing.T, w *recipetest.World, q *queue.Queue[string], s *recipetest.Client) {
			w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
				t.Errorf("Take: got %v, outcome %v, want outcome %v",
					err, session.OutcomeOf(err), session.Indeterminate)
			}
		},
		"rest of a loop": func(t *testing.T, _ *recipetest.World, q *queue.Queue[string], _ *recipetest.Client) {
			recipetest.Check(t, q.Put(t.Context(), "first"))
			recipetest.Must(q.Take(t.Context()))                 // takes the item that was just put
			recipetest.Check(t, q.Put(t.Context(), "x", "rest")) // the loop below gives "rest" back
			go func() {
				for _, err := range q.Items(t.Context()) {
					recipetest.Check(t, err)
					<-time.After(time.Second)
					break
				}
			}()
			synctest.Wait()
		},
	}
	waits := map[string]func(context.Context, *queue.Queue[string]) error{
		"take":  func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Take(ctx); return err },
		"claim": func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Claim(ctx); return err },
	}
	for how, give := range gives {
		for who, wait := range waits {
			t.Run(how+"/"+who, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, s := newQueue(w, queue.Options[string]{ClaimFor: time.Second, Prefetch: 2})
					waiter, _ := newQueue(w, queue.Options[string]{})
					p, _ := newQueue(w, queue.Options[string]{})
					recipetest.Check(t, q.Put(t.Context(), "warm"))
					c := recipetest.Must(q.Claim(t.Context()))
					// These calls create the ledger znodes of q and p. So the calls that follow
					// need not create them.
					recipetest.Check(t, c.Ack(t.Context()))
					recipetest.Check(t, p.Put(t.Context(), "kept"))
					recipetest.Must(p.Claim(t.Context())) // keeps the segment from being drained
					give := func() { give(t, w, q, s) }
					if how == "rest of a loop" {
						give()
					} else {
						recipetest.Check(t, q.Put(t.Context(), "x"))
						give()
					}
					for range inSegment { // opens another segment
						recipetest.Check(t, p.Put(t.Context(), "y"))
						recipetest.Must(p.Take(t.Context()))
					}
					woken := make(chan error, 1)
					go func() { woken <- wait(t.Context(), waiter) }()
					synctest.Wait()
					if len(woken) > 0 {
						t.Fatalf("%s: got %v before an item was free, want it to wait", who, <-woken)
					}
					select {
					case err := <-woken:
						recipetest.Check(t, err)
					case <-time.After(2 * time.Second):
						t.Errorf("%s: still waits 2s after the item was given back", who)
					}
					synctest.Wait() // until the call that gives the item back has returned
				})
			})
		}
	}
}
