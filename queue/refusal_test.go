package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// If a server refuses some requests of a Claim or Take, the item is free again in the end, and
// Close removes the handle's ledger znodes. Regression: the item was lost or stayed claimed while
// the session lived, and a ledger znode remained after Close.
//
// Covers Q3, Q8, Q11.
func TestRefusedLookUpKeepsNoItem(t *testing.T) {
	const items = path + "/items/0/*/*"
	claimed := func(t *testing.T, q *queue.Queue[string]) {
		if c, err := q.Claim(t.Context()); err == nil {
			t.Errorf("Claim: got %q, want an error", c.Value())
		}
	}
	expired := func(t *testing.T, q *queue.Queue[string]) { recipetest.Must(q.Claim(t.Context())) }
	for name, c := range map[string]struct {
		refusal recipetest.Refusal
		call    func(t *testing.T, q *queue.Queue[string])
	}{
		"token":            {recipetest.Refusal{Op: "exists", Path: path + "/marks/*"}, claimed},
		"attempts":         {recipetest.Refusal{Op: "exists", Path: items}, claimed},
		"another claim":    {recipetest.Refusal{Op: "multi", Path: items + "/c"}, claimed},
		"item, expired":    {recipetest.Refusal{Op: "exists", Path: items, Skip: 1}, expired},
		"claim, expired":   {recipetest.Refusal{Op: "exists", Path: items + "/c", Skip: 1}, expired},
		"release, expired": {recipetest.Refusal{Op: "multi", Path: path + "/marks/*", Skip: 1}, expired},
		"taken": {recipetest.Refusal{Op: "exists", Path: path + "/items/0"}, func(t *testing.T, q *queue.Queue[string]) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
				t.Errorf("Take: got %v, outcome %v, want outcome %v",
					err, session.OutcomeOf(err), session.Indeterminate)
			}
		}},
		"taken, put back": {recipetest.Refusal{Op: "multi", Path: path + "/marks/*", Skip: 1}, func(t *testing.T, q *queue.Queue[string]) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Take(ctx); session.OutcomeOf(err) != session.Indeterminate {
				t.Errorf("Take: got %v, outcome %v, want outcome %v",
					err, session.OutcomeOf(err), session.Indeterminate)
			}
		}},
	} {
		for _, code := range []wire.Code{wire.ThrottledOp, wire.SystemError} {
			t.Run(fmt.Sprint(name, code), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, s := newQueue(w, queue.Options[string]{ClaimFor: time.Second / 4})
					other, _ := newQueue(w, queue.Options[string]{})
					recipetest.Check(t, other.Put(t.Context(), "x"))
					// This claim and its release create the ledger znodes of the handle. The claim
					// under test is then the second claim on the item.
					recipetest.Check(t, recipetest.Must(q.Claim(t.Context())).Release(t.Context()))
					refusal := c.refusal
					refusal.Count, refusal.Code = 3, code
					if name[:5] == "taken" {
						if refusal.Op == "multi" && code == wire.SystemError {
							// The outcome of this put-back is unknown: the item may have been put
							// back and taken meanwhile. So the handle does not repeat the put-back,
							// and the item may be lost.
							return
						}
						w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
					}
					r := s.Refuse(refusal)
					c.call(t, q)
					time.Sleep(recipetest.Timeout)
					synctest.Wait()
					if n := r.Fired(); n == 0 || n > 3 {
						t.Errorf("refused requests: got %d, want 1 to 3", n)
					}
					recipetest.Check(t, q.Close(t.Context()))
					time.Sleep(recipetest.Timeout)
					synctest.Wait()
					if got := drain(t, other); !slices.Equal(got, []string{"x"}) {
						t.Errorf("items left: got %q, want %q", got, "x")
					}
					recipetest.Check(t, other.Close(t.Context()))
					// After a SystemError on a transaction, the handle discards its ledger znode
					// without deleting it. The znode remains until the session ends.
					given := refusal.Op == "multi" && code == wire.SystemError
					if left := w.Nodes(path + "/marks"); len(left) > 0 && !given {
						t.Errorf("ledger znodes left: got %q, want none", left)
					}
				})
			})
		}
	}
}

// On a server that is not ZooKeeper, items can be taken but not claimed, because the proof that a
// lease is safe covers only ZooKeeper. In this test, the servers behave like ClickHouse Keeper:
// they give sessions no password. By this, the session recognizes that they are not ZooKeeper.
//
// Covers Q3.
func TestNoClaimOnAServerThatIsNotZooKeeper(t *testing.T) {
	recipetest.RunOn(t, zktest.Options{NoResume: true}, func(t *testing.T, w *recipetest.World) {
		q, c := newQueue(w, queue.Options[string]{})
		w.Within(time.Minute, "the queue", func(ctx context.Context) error {
			recipetest.Check(t, q.Put(ctx, "a"))
			if _, err := q.Claim(ctx); !errors.Is(err, session.ErrNotZooKeeper) {
				t.Errorf("Claim: got error %v, want %v", err, session.ErrNotZooKeeper)
			}
			if got, err := q.Take(ctx); got != "a" || err != nil {
				t.Errorf("Take: got %q, %v, want %q", got, err, "a")
			}
			return nil
		})
		if n := c.Count(); n > 80 {
			t.Errorf("requests: got %d, want at most 80", n)
		}
	})
}
