package recipetest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// mostMoments bounds a call. One that has more does so for ever.
const mostMoments = 200

// atEveryMoment runs f in a new world for the first moment of a client, for its
// second and so on, until f says that it was over before.
func atEveryMoment(t *testing.T, f func(t *testing.T, w *World, c *Client, moment int) (reached bool)) {
	t.Helper()
	for moment := 1; ; moment++ {
		reached := false
		Run(t, func(t *testing.T, w *World) { reached = f(t, w, w.Client(), moment) })
		switch {
		case t.Failed():
			t.Fatalf("at moment %d", moment)
		case !reached && moment < 3:
			t.Fatalf("there are %d moments only", moment-1)
		case !reached:
			return
		case moment == mostMoments:
			t.Fatalf("there are more than %d moments", mostMoments)
		}
	}
}

// UnblockedAtEveryMoment makes the way free at the first moment of the call, then
// in a new world at its second and so on, until it is over before.
func (call Call) UnblockedAtEveryMoment(t *testing.T) {
	t.Helper()
	atEveryMoment(t, func(t *testing.T, w *World, c *Client, moment int) bool {
		release, err := call.Block(t.Context(), w.Client().Session)
		Check(t, err)
		unblock := sync.OnceFunc(func() {
			if err := release(context.Background()); err != nil {
				t.Error(err)
			}
		})
		last := time.AfterFunc(blockedFor, unblock)
		defer last.Stop()
		c.At(moment, func() { go unblock() })
		w.Within(2*Timeout, "the call", func(ctx context.Context) error {
			undo, err := call.Do(ctx, c.Session)
			if err != nil {
				return err
			}
			return undo(ctx)
		})
		reached := c.Reached()
		unblock()
		w.NothingLeft()
		return reached
	})
}

// CancelledAtEveryMoment runs f with a context that ends at the first moment of
// the client, then in a new world at its second and so on, until f is over
// before.
func CancelledAtEveryMoment(t *testing.T, f func(ctx context.Context, t *testing.T, w *World, c *Client)) {
	t.Helper()
	atEveryMoment(t, func(t *testing.T, w *World, c *Client, moment int) bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.At(moment, cancel)
		f(ctx, t, w, c)
		return c.Reached()
	})
}
