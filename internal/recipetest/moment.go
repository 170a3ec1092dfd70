package recipetest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// mostMoments is the largest number of moments of one call. A call with more moments probably never
// ends.
const mostMoments = 200

// atEveryMoment runs f in a new world for the first moment of a client, for the second, and so on,
// until f ends before its moment. A moment is a request that the client sends, or a reply or event
// that it receives: see Client.At.
func atEveryMoment(t *testing.T, f func(t *testing.T, w *World, c *Client, moment int) (reached bool)) {
	t.Helper()
	for moment := 1; ; moment++ {
		reached := false
		Run(t, func(t *testing.T, w *World) { reached = f(t, w, w.Client(), moment) })
		switch {
		case t.Failed():
			t.Fatalf("the failure is at moment %d", moment)
		case !reached && moment < 3:
			t.Fatalf("got only %d moments, want at least 2", moment-1)
		case !reached:
			return
		case moment == mostMoments:
			t.Fatalf("got more than %d moments", mostMoments)
		}
	}
}

// UnblockedAtEveryMoment makes the call once for each of its moments (see Client.At), each time in
// a new world. It removes the block at that moment, but after the time blockedFor at the latest.
// The last call is the one that ends before its moment.
func (call Call) UnblockedAtEveryMoment(t *testing.T) {
	t.Helper()
	atEveryMoment(t, func(t *testing.T, w *World, c *Client, moment int) bool {
		release, err := call.Block(t.Context(), w.Client().Session)
		Check(t, err)
		unblock := sync.OnceFunc(func() {
			if err := release(context.Background()); err != nil {
				t.Errorf("removal of the block: got error %v, want nil", err)
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

// CancelledAtEveryMoment runs f once for each moment of the client (see Client.At), each time in a
// new world, with a context that ends at that moment. The last run is the one in which f ends
// before its moment.
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
