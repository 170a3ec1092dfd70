package harness

import (
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

// Regression: a fault's context ended while the fault closed its connection, which takes a second
// if no server answers. The end of the context caused a second close, which waited for the first
// one at the mutex of a sync.Once. Virtual time does not advance during such a wait, so the run
// never ended.
func TestOnceWaitsInVirtualTime(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		calls := 0
		once := Once(func() {
			calls++
			time.Sleep(time.Second)
		})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				begun := time.Now()
				if once(); time.Since(begun) != time.Second {
					t.Errorf("once returned after %v, want 1s", time.Since(begun))
				}
			})
		}
		all.Wait()
		if once(); calls != 1 {
			t.Errorf("got %d calls, want 1", calls)
		}
	})
}
