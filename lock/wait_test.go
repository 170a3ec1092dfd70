package lock_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/zktest"
)

// While contenders wait, only the holder and the next contender write, no matter how many wait.
// After ten idle minutes, each of the others is served in its turn.
//
// Covers L11.
func TestWaitersWriteNothing(t *testing.T) {
	for _, waiters := range []int{1, 40} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			mutex := mutexAt("/lock")
			holder := recipetest.Must(mutex(w.Client()).Lock(t.Context()))
			var wg sync.WaitGroup
			served := 0
			for range waiters {
				c := w.Client()
				wg.Go(func() {
					g, err := mutex(c).Lock(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					served++ // the lock protects served
					ok(t, g.Unlock(t.Context()))
				})
				synctest.Wait()
			}
			writes := w.Inject(zktest.Rule{Op: "multi", Count: -1, Fate: zktest.DelayRequest})
			time.Sleep(10 * time.Minute)
			perTimeout := float64(writes.Fired()) / float64(10*time.Minute/recipetest.Timeout)
			t.Logf("%d waiters: %.1f writes in a session timeout", waiters, perTimeout)
			if perTimeout < 11 || perTimeout > 13 {
				t.Errorf("%d waiters: got %.1f writes in a session timeout, want 11 to 13, which is 6 for each of two sessions", waiters, perTimeout)
			}
			writes.Remove()
			ok(t, holder.Unlock(t.Context()))
			wg.Wait()
			if served != waiters {
				t.Errorf("waiters served: got %d, want %d", served, waiters)
			}
		})
	}
}
