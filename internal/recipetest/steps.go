package recipetest

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// CancelBetweenSteps makes the call repeatedly, each time in a new world. In the n-th world, the
// context ends just before the call waits for the n-th time: when ctx.Done is called for the n-th
// time. By contrast, CancelledAtEveryMoment ends the context only at a request, a reply or an
// event. When a call succeeds, CancelBetweenSteps returns. After each call, no ephemeral znode and
// no watch may remain.
//
// The calls run on one processor, where the goroutine that was started last runs first. This order
// reveals a faulty call that abandons a request and lets another goroutine undo that request. For
// example, the goroutine that deletes a znode runs before the goroutine that creates it. So the
// delete is sent first and has no effect, and then the znode of the abandoned create remains.
func CancelBetweenSteps(t *testing.T, call Do) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for n, over := 1, false; !over; n++ {
		Run(t, func(t *testing.T, w *World) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c := w.Client()
			undo, err := call(&endsWhenAsked{Context: ctx, cancel: cancel, n: n}, c.Session)
			synctest.Wait()
			if over = err == nil; over {
				w.Within(Timeout, "undo", undo)
			}
			w.NothingLeft()
			if t.Failed() {
				t.Fatalf("the context ended before wait %d", n)
			}
		})
	}
}

// endsWhenAsked is a context that ends when its Done method is called for the n-th time, which is
// just before a wait.
type endsWhenAsked struct {
	context.Context
	cancel context.CancelFunc

	mu sync.Mutex
	n  int
}

func (c *endsWhenAsked) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		c.cancel()
	}
	return c.Context.Done()
}
