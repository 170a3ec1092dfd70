package coordtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

// A Call is a call of a primitive that may have to wait, such as Lock.
type Call struct {
	// Block makes the call wait; the function that it returns lets it through
	// again. Nil if the call finds the way free.
	Block func(t *testing.T, w *World) (unblock func())
	// Do makes the call and returns what undoes it, such as Unlock.
	Do func(ctx context.Context, c *Client) (undo func(context.Context) error, err error)
}

// blockedFor is when the way is made free, counted from the call.
const blockedFor = Timeout / 2

// AtEveryMoment breaks the call at its first moment, then in a new world at its
// second and so on, until it is over before. Each time nothing may be left, and
// another client must be able to do the same.
func (call Call) AtEveryMoment(t *testing.T, what string, hook func(c *Client, cancel context.CancelFunc)) {
	t.Helper()
	const most = 100
	for n := 1; ; n++ {
		reached := false
		Run(t, func(t *testing.T, w *World) {
			c := w.Client()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			call.run(t, w, c, ctx, func() { c.At(n, func() { hook(c, cancel) }) })
			reached = c.Reached()
		})
		if t.Failed() {
			t.Fatalf("%s at moment %d", what, n)
		}
		if !reached {
			if n < 3 {
				t.Fatalf("%s: the call has %d moments only", what, n-1)
			}
			return
		}
		if n > most {
			t.Fatalf("%s: the call has more than %d moments", what, most)
		}
	}
}

// AtEveryRequest gives each request of the call the fate, one at a time.
func (call Call) AtEveryRequest(t *testing.T, what string, fate zktest.Fate) {
	t.Helper()
	for n := 0; ; n++ {
		fired := 0
		Run(t, func(t *testing.T, w *World) {
			c := w.Client()
			var broken *zktest.Injection
			call.run(t, w, c, context.Background(), func() {
				broken = w.Inject(zktest.Rule{Session: c.ID(), Skip: n, Fate: fate})
			})
			fired = broken.Fired()
		})
		if t.Failed() {
			t.Fatalf("%s: request %d", what, n)
		}
		if fired == 0 {
			if n < 2 {
				t.Fatalf("%s: the call makes %d requests only", what, n)
			}
			return
		}
	}
}

// run makes the call with something broken, undoes it if it succeeded, and
// looks whether all is well afterwards.
func (call Call) run(t *testing.T, w *World, c *Client, ctx context.Context, arm func()) {
	t.Helper()
	unblocked := make(chan struct{})
	unblock := func() {}
	if call.Block != nil {
		unblock = call.Block(t, w)
	}
	go func() {
		defer close(unblocked)
		time.Sleep(blockedFor)
		unblock()
	}()
	arm()
	if undo, err := call.Do(ctx, c); err == nil {
		if err := undo(context.Background()); err != nil && c.Err() == nil && !errors.Is(err, context.Canceled) {
			t.Errorf("undo: %v", err)
		}
	}
	<-unblocked
	w.Within(2*Timeout, "the next one", func(ctx context.Context) error {
		undo, err := call.Do(ctx, w.Client())
		if err != nil {
			return err
		}
		return undo(ctx)
	})
	w.NothingLeft()
}
