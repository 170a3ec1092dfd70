package queue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The directory of a second is deleted when its items have been moved, and made
// again for an item that comes late for the same second. Its numbers began at 0
// again, and a consumer that had read the first item of the old directory deleted
// the first of the new one for it: one item was in the queue twice, the other was
// lost.
//
// Covers Q1, Q2, Q13.
func TestItemThatComesLateForItsSecondIsNotLost(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		slow, slowClient := newQueue(w, queue.Options[string]{})
		fast, _ := newQueue(w, queue.Options[string]{})
		producer, _ := newQueue(w, queue.Options[string]{})
		late, lateClient := newQueue(w, queue.Options[string]{})
		for _, q := range []*queue.Queue[string]{slow, fast, producer, late} { // the queue and the handles' marks exist
			recipetest.Check(t, q.Put(t.Context(), "warm"))
			recipetest.Must(q.Take(t.Context()))
			recipetest.Check(t, q.PutAt(t.Context(), time.Now().Add(-time.Second), "warm"))
			recipetest.Must(q.Take(t.Context()))
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond)))
		at := time.Now().Add(500 * time.Millisecond)
		recipetest.Check(t, producer.PutAt(t.Context(), at, "A"))

		// The transaction that puts B for the same second is under way for long.
		arrive, arrived := make(chan bool), make(chan error)
		lateClient.Before("multi", func() { <-arrive })
		go func() { arrived <- late.PutAt(t.Context(), at, "B") }()
		time.Sleep(2 * time.Second)

		// One consumer has read A in that second's directory. Before it moves it,
		// another one does, and takes it.
		var got []string
		slowClient.Before("multi", func() {
			got = append(got, recipetest.Must(fast.Take(t.Context())))
			close(arrive)
			recipetest.Check(t, <-arrived)
		})
		for _, q := range []*queue.Queue[string]{slow, fast} {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				item, err := q.Take(ctx)
				cancel()
				if err != nil {
					break
				}
				got = append(got, item)
			}
		}
		slices.Sort(got)
		if want := []string{"A", "B"}; !slices.Equal(got, want) {
			t.Errorf("put %q, taken %q", want, got)
		}
	})
}

// deleteClaim deletes the one claim that there is, as somebody else.
func deleteClaim(t *testing.T, w *recipetest.World) {
	t.Helper()
	for _, node := range w.Nodes(path + "/items") {
		if strings.HasSuffix(node, "/c") {
			recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			return
		}
	}
	t.Fatal("no claim")
}

// endings are the ways to end a claim.
var endings = map[string]func(context.Context, *queue.Claim[string]) error{
	"ack":     func(ctx context.Context, c *queue.Claim[string]) error { return c.Ack(ctx) },
	"reject":  func(ctx context.Context, c *queue.Claim[string]) error { return c.Reject(ctx) },
	"release": func(ctx context.Context, c *queue.Claim[string]) error { return c.Release(ctx) },
}

// Somebody deleted a claim, and another session claimed the item before the first
// one had noticed. The first one's Ack took that item, and its Release gave it to a
// third.
//
// Covers Q7, Q10.
func TestDeletedClaimEndsNoOther(t *testing.T) {
	meanwhile := map[string]func(t *testing.T, q, other *queue.Queue[string], w *recipetest.World){
		"first claim": func(*testing.T, *queue.Queue[string], *queue.Queue[string], *recipetest.World) {},
		"claimed before": func(t *testing.T, q, other *queue.Queue[string], w *recipetest.World) {
			recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Release(t.Context()))
			recipetest.Check(t, recipetest.Must(other.Claim(t.Context())).Release(t.Context()))
		},
	}
	for when, before := range meanwhile {
		for how, end := range endings {
			t.Run(when+"/"+how, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, _ := newQueue(w, queue.Options[string]{})
					other, _ := newQueue(w, queue.Options[string]{})
					third, _ := newQueue(w, queue.Options[string]{})
					recipetest.Check(t, q.Put(t.Context(), "x"))
					before(t, q, other, w)
					old := recipetest.Must(q.Claim(t.Context()))
					deleteClaim(t, w)
					c := recipetest.Must(other.Claim(t.Context()))
					if err := end(t.Context(), old); session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrRevoked) {
						t.Errorf("the old claim ended with %v", err)
					}
					synctest.Wait()
					if rest := drain(t, third); len(rest) > 0 {
						t.Errorf("claimed, and %q was taken", rest)
					}
					recipetest.Check(t, c.Ack(t.Context()))
				})
			})
		}
	}
}

// The same, where the item was taken and put back before it was claimed again. It
// was put back under its old name, and all of its claims were forgotten.
//
// Covers Q3, Q7, Q10.
func TestDeletedClaimEndsNoOtherOnAnItemGivenBack(t *testing.T) {
	for how, end := range endings {
		t.Run(how, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, _ := newQueue(w, queue.Options[string]{})
				other, s := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, q.Put(t.Context(), "x"))
				old := recipetest.Must(q.Claim(t.Context()))
				deleteClaim(t, w)
				w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: 200 * time.Millisecond})
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, err := other.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
					t.Errorf("take: %v", err)
				}
				c := recipetest.Must(other.Claim(t.Context()))
				if c.ID() != old.ID() {
					t.Errorf("the item is named %s, and then %s", old.ID(), c.ID())
				}
				if err := end(t.Context(), old); session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrRevoked) {
					t.Errorf("the old claim ended with %v", err)
				}
				recipetest.Check(t, c.Ack(t.Context()))
			})
		})
	}
}

// A claim that is deleted while it is made must not end the one that comes in its
// place: that one could not be acknowledged.
//
// Covers Q7, Q8, Q10.
func TestClaimDeletedWhileItIsMade(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Release(t.Context()))
		var c *queue.Claim[string]
		s.Before("setData", func() {
			deleteClaim(t, w)
			c = recipetest.Must(other.Claim(t.Context()))
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if late, err := q.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("claimed %v, %v", late, err)
		}
		recipetest.Check(t, c.Ack(t.Context()))
		if rest := drain(t, q); len(rest) > 0 {
			t.Errorf("left are %q", rest)
		}
	})
}

// A waiter could claim the dead letter while the context of the claim that was
// rejected had not ended.
//
// Covers Q7.
func TestContextEndsBeforeTheItemIsSomebodyElses(t *testing.T) {
	for how, end := range endings {
		if how == "ack" { // nobody gets the item
			continue
		}
		t.Run(how, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				q, s := newQueue(w, queue.Options[string]{})
				recipetest.Check(t, q.Put(t.Context(), "warm"))
				recipetest.Check(t, end(t.Context(), recipetest.Must(q.Claim(t.Context()))))
				recipetest.Check(t, q.Put(t.Context(), "x"))
				c := recipetest.Must(q.Claim(t.Context()))
				s.Before("multi", func() {
					if !errors.Is(context.Cause(c.Context()), queue.ErrNotClaimed) {
						t.Errorf("%s was sent while the context stood: %v", how, context.Cause(c.Context()))
					}
				})
				recipetest.Check(t, end(t.Context(), c))
			})
		})
	}
}
