package harness

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The report: a fault's context ended while it closed its connection, which
// takes a second where no server answers. It waited behind the mutex of a
// sync.Once, for which virtual time stands still: the run never ended.
func TestOnceWaitsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
					t.Errorf("came back after %v", time.Since(begun))
				}
			})
		}
		all.Wait()
		if once(); calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}
