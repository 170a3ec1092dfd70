package queue_test

import (
	"context"
	"errors"
	"fmt"
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

// A delayed item is not lost if its slot was deleted and created again. A slot is the znode below
// which the delayed items of one second are stored. When these items are due, a consumer moves them
// to the queue and deletes the slot. If a late item for the same second is put afterwards, the slot
// is created again, and its sequence numbers begin at 0 again.
//
// In this test, a slow consumer reads item A in the slot. Then another consumer moves A to the
// queue, and a late item B is put. Regression: B got the same name as A. So the slow consumer moved
// A once more and deleted the znode of B: A was in the queue twice, and B was lost.
//
// Covers Q1, Q2, Q13.
func TestItemThatComesLateForItsSecondIsNotLost(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		slow, slowClient := newQueue(w, queue.Options[string]{})
		fast, _ := newQueue(w, queue.Options[string]{})
		producer, _ := newQueue(w, queue.Options[string]{})
		late, lateClient := newQueue(w, queue.Options[string]{})
		// Create the queue and the ledger znodes.
		for _, q := range []*queue.Queue[string]{slow, fast, producer, late} {
			recipetest.Check(t, q.Put(t.Context(), "warm"))
			recipetest.Must(q.Take(t.Context()))
			recipetest.Check(t, q.PutAt(t.Context(), time.Now().Add(-time.Second), "warm"))
			recipetest.Must(q.Take(t.Context()))
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond)))
		at := time.Now().Add(500 * time.Millisecond)
		recipetest.Check(t, producer.PutAt(t.Context(), at, "A"))

		// The transaction that puts B for the same second takes a long time.
		arrive, arrived := make(chan bool), make(chan error)
		lateClient.Before("multi", func() { <-arrive })
		go func() { arrived <- late.PutAt(t.Context(), at, "B") }()
		time.Sleep(2 * time.Second)

		// The slow consumer has read A in the slot. Before it moves A, the fast consumer moves and
		// takes A.
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
			t.Errorf("taken: got %q, want %q", got, want)
		}
	})
}

// deleteClaim deletes the only claim, on behalf of another client.
func deleteClaim(t *testing.T, w *recipetest.World) {
	t.Helper()
	for _, node := range w.Nodes(path + "/items") {
		if strings.HasSuffix(node, "/c") {
			recipetest.Check(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			return
		}
	}
	t.Fatalf("got no claim below %s/items, want one", path)
}

// The map `endings` contains the calls that end a claim, by name.
var endings = map[string]func(context.Context, *queue.Claim[string]) error{
	"ack":     func(ctx context.Context, c *queue.Claim[string]) error { return c.Ack(ctx) },
	"reject":  func(ctx context.Context, c *queue.Claim[string]) error { return c.Reject(ctx) },
	"release": func(ctx context.Context, c *queue.Claim[string]) error { return c.Release(ctx) },
}

// If a client deletes a claim and another session claims the item, the first claimer cannot end the
// second claim. In this test, the first claimer has not noticed the deletion when it calls Ack,
// Reject or Release. Regression: the Ack of the first claimer removed the item, and the Release of
// the first claimer gave the item to a third consumer.
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
						t.Errorf("end of the old claim: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.ErrRevoked)
					}
					synctest.Wait()
					if rest := drain(t, third); len(rest) > 0 {
						t.Errorf("items free while the item is claimed: got %q, want none", rest)
					}
					recipetest.Check(t, c.Ack(t.Context()))
				})
			})
		}
	}
}

// This test is like TestDeletedClaimEndsNoOther, but the item is taken and put back before it is
// claimed again. Regression: the new znode of the item had the same name and version as the old
// znode. So the Ack, Reject or Release of the old claim ended the new claim.
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
					t.Errorf("Take: got %v, outcome %v, want outcome %v",
						err, session.OutcomeOf(err), session.Indeterminate)
				}
				c := recipetest.Must(other.Claim(t.Context()))
				if c.ID() != old.ID() {
					t.Errorf("ID of the item: got %s, want %s", c.ID(), old.ID())
				}
				if err := end(t.Context(), old); session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrRevoked) {
					t.Errorf("end of the old claim: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.ErrRevoked)
				}
				recipetest.Check(t, c.Ack(t.Context()))
			})
		})
	}
}

// A call of Claim does not end the claim of another session. In this test, a first session calls
// Claim. While this call is still in progress, a client deletes the claim that the call has made,
// and a second session claims the item. Regression: the call of the first session ended the claim
// of the second session, so the second session could not ack the item.
//
// Covers Q7, Q8, Q10.
func TestClaimDeletedWhileItIsMade(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q, s := newQueue(w, queue.Options[string]{})
		other, _ := newQueue(w, queue.Options[string]{})
		recipetest.Check(t, q.Put(t.Context(), "x"))
		recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Release(t.Context()))
		var c *queue.Claim[string]
		s.Before("multi", func() { // before the transaction that makes the claim
			s.Before("multi", func() { // before the transaction that writes the item's znode
				deleteClaim(t, w)
				c = recipetest.Must(other.Claim(t.Context()))
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Claim: got error %v, want %v", err, context.DeadlineExceeded)
		}
		recipetest.Check(t, c.Ack(t.Context()))
		if rest := drain(t, q); len(rest) > 0 {
			t.Errorf("items left: got %q, want none", rest)
		}
	})
}

// Claim does not return a claim whose znode is gone. In this test, a first session claims an item,
// and a client deletes the znode of this claim. Then a second session claims the item: it has
// created its claim's znode, but has not written the item's znode yet. So the item's znode has the
// same version for both claims. The first session has not noticed the deletion. It ends its claim,
// and thereby deletes the claim's znode of the second session, which has the same path.
//
// Regression: the Claim of the second session then returned its claim, although the claim's znode
// was gone. So a third consumer could claim the item too.
//
// Covers Q7.
func TestClaimEndedBeforeItsItemIsSet(t *testing.T) {
	for _, how := range []string{"release", "expiry"} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/first=%v", how, first), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					at := (w.Leader() + 1) % 3
					if w.Servers()[at] == w.Admin().Server() {
						at = (w.Leader() + 2) % 3
					}
					q := queue.New(w.Client(w.On(at)).Session, path, queue.Options[string]{ClaimFor: time.Second / 2})
					s := w.Client(w.On(w.Leader()))
					other := queue.New(s.Session, path, queue.Options[string]{})
					third := queue.New(w.Client(w.On(w.Leader())).Session, path, queue.Options[string]{})
					recipetest.Check(t, q.Put(t.Context(), "warm"))
					// Create the ledger znodes of the handle.
					recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Ack(t.Context()))
					recipetest.Check(t, q.Put(t.Context(), "x"))
					if !first {
						recipetest.Check(t, recipetest.Must(other.Claim(t.Context())).Release(t.Context()))
					}
					old := recipetest.Must(q.Claim(t.Context()))
					synctest.Wait()
					w.Lag(at, 1500*time.Millisecond) // so that the first claimer does not notice the deletion
					deleteClaim(t, w)
					slow := w.Inject(zktest.Rule{Op: "exists", Path: path + "/items/0/*/*/c", Session: s.ID(), Fate: zktest.DelayReply, Delay: 3 * time.Second})
					claimed := make(chan *queue.Claim[string], 1)
					go func() { claimed <- recipetest.Must(other.Claim(t.Context())) }()
					synctest.Wait()
					if slow.Fired() != 1 {
						t.Fatalf("delayed %d reads of the claim, want 1", slow.Fired())
					}
					if how == "release" {
						recipetest.Check(t, old.Release(t.Context()))
					} else {
						time.Sleep(time.Second)
					}
					if len(claimed) > 0 {
						t.Fatal("second Claim: returned before it had read its claim")
					}
					c := <-claimed
					if rest := drain(t, third); len(rest) > 0 {
						t.Errorf("items free while the item is claimed: got %q, want none", rest)
					}
					recipetest.Check(t, c.Ack(t.Context()))
				})
			})
		}
	}
}

// Release and Reject end the claim's context before they send their transaction. Regression: a
// consumer of the dead letters could claim a rejected item before the context of the rejected claim
// ended.
//
// Covers Q7.
func TestContextEndsBeforeTheItemIsSomebodyElses(t *testing.T) {
	for how, end := range endings {
		if how == "ack" { // no consumer gets the item after an Ack
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
						t.Errorf("cause of the claim's context when %s is sent: got %v, want %v", how, context.Cause(c.Context()), queue.ErrNotClaimed)
					}
				})
				recipetest.Check(t, end(t.Context(), c))
			})
		})
	}
}
