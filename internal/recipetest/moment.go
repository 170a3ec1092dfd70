package recipetest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// mostMoments is the moment at which atEveryMoment fails. A call that reaches this moment probably
// never ends.
const mostMoments = 200

// atEveryMoment runs f with the moments 1, 2, 3 and so on, each time in a new world with a new
// client. A moment is a request that the client sends, or a reply or event that the client
// receives: see Client.At. The function f reports whether the client reached the given moment. When
// f returns false, atEveryMoment returns.
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

// UnblockedAtEveryMoment makes the call repeatedly, each time in a new world, while another client
// blocks the call (see Call.Block). In the n-th world, the block is removed at the n-th moment of
// the call (see Client.At), or when the time blockedFor has passed, whichever comes first. The
// repetitions end when a call has fewer than n moments.
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

// CancelledAtEveryMoment runs f repeatedly, each time in a new world. In the n-th run, the context
// of f ends at the n-th moment of the client (see Client.At). The runs end when the client has
// fewer than n moments.
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
