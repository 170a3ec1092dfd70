package queue_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A look-up was refused once, and the item stayed claimed for as long as the session
// lived, or was lost. The handle's mark stayed after Close.
//
// Covers Q3, Q8, Q11.
func TestRefusedLookUpKeepsNoItem(t *testing.T) {
	const items = path + "/items/0/*/*"
	claimed := func(t *testing.T, q *queue.Queue[string]) {
		if c, err := q.Claim(t.Context()); err == nil {
			t.Errorf("claimed %q", c.Value())
		}
	}
	expired := func(t *testing.T, q *queue.Queue[string]) { coordtest.Must(q.Claim(t.Context())) }
	for name, c := range map[string]struct {
		refusal coordtest.Refusal
		call    func(t *testing.T, q *queue.Queue[string])
	}{
		"token":            {coordtest.Refusal{Op: "exists", Path: path + "/marks/*"}, claimed},
		"attempts":         {coordtest.Refusal{Op: "exists", Path: items}, claimed},
		"another claim":    {coordtest.Refusal{Op: "setData", Path: items}, claimed},
		"item, expired":    {coordtest.Refusal{Op: "exists", Path: items, Skip: 1}, expired},
		"claim, expired":   {coordtest.Refusal{Op: "exists", Path: items + "/c", Skip: 1}, expired},
		"release, expired": {coordtest.Refusal{Op: "multi", Path: path + "/marks/*", Skip: 1}, expired},
		"taken": {coordtest.Refusal{Op: "exists", Path: path + "/items/0"}, func(t *testing.T, q *queue.Queue[string]) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Take(ctx); session.Outcome(err) != session.Indeterminate {
				t.Errorf("take: %v", err)
			}
		}},
		"taken, put back": {coordtest.Refusal{Op: "multi", Path: path + "/marks/*", Skip: 1}, func(t *testing.T, q *queue.Queue[string]) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := q.Take(ctx); session.Outcome(err) != session.Indeterminate {
				t.Errorf("take: %v", err)
			}
		}},
	} {
		for _, code := range []wire.Code{wire.ThrottledOp, wire.SystemError} {
			t.Run(fmt.Sprint(name, code), func(t *testing.T) {
				coordtest.Run(t, func(t *testing.T, w *coordtest.World) {
					q, s := newQueue(w, queue.Options[string]{ClaimFor: time.Second / 4})
					other, _ := newQueue(w, queue.Options[string]{})
					coordtest.Check(t, other.Put(t.Context(), "x"))
					// The handle's marks are there, and this is not the first claim.
					coordtest.Check(t, coordtest.Must(q.Claim(t.Context())).Release(t.Context()))
					refusal := c.refusal
					refusal.Count, refusal.Code = 3, code
					if name[:5] == "taken" {
						if refusal.Op == "multi" && code == wire.SystemError {
							return // it may have been put back, and taken since
						}
						w.Inject(zktest.Rule{Op: "multi", Session: s.ID(), Fate: zktest.DelayReply, Delay: time.Second})
					}
					r := s.Refuse(refusal)
					c.call(t, q)
					time.Sleep(coordtest.Timeout)
					synctest.Wait()
					if n := r.Fired(); n == 0 || n > 3 {
						t.Errorf("%d were refused", n)
					}
					coordtest.Check(t, q.Close(t.Context()))
					time.Sleep(coordtest.Timeout)
					synctest.Wait()
					if got := drain(t, other); !slices.Equal(got, []string{"x"}) {
						t.Errorf("left are %q", got)
					}
					coordtest.Check(t, other.Close(t.Context()))
					given := refusal.Op == "multi" && code == wire.SystemError // the mark is of no use then
					if left := w.Nodes(path + "/marks"); len(left) > 0 && !given {
						t.Errorf("left: %q", left)
					}
				})
			})
		}
	}
}
