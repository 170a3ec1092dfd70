package recipetest

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// CancelBetweenSteps makes the call with a context that ends just before the
// call waits for anything for the first time, in a new world the second time
// and so on, until it succeeds: also where no request or reply goes over the
// wire between two steps. Nothing may be left.
//
// It runs on one processor, where of two goroutines the one that was started
// last runs first: a request that was given up could go out behind the one that
// is to undo it.
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
				t.Fatalf("ended before wait %d", n)
			}
		})
	}
}

// endsWhenAsked is a context that ends at the n-th time that somebody is about
// to wait for its end.
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
