package lock_test

import (
	"flag"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var manyWaiters = flag.Bool("waiters", false, "TestWaitersWriteNothing also with 1,000 and 5,000 waiters")

// While contenders wait, only the holder and the next contender write, no matter how many wait.
// After ten idle minutes, each of the others is served in its turn. With thousands of waiters the
// test takes minutes:
//
//	go test ./lock -run WaitersWriteNothing -waiters -v -timeout 1h
//
// Covers L11.
func TestWaitersWriteNothing(t *testing.T) {
	counts := []int{1, 40}
	if *manyWaiters {
		counts = append(counts, 1_000, 5_000)
	}
	for _, waiters := range counts {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			recipetest.Must(w.Admin().Create(t.Context(), "/nodes", nil, session.Persistent))
			mutex := mutexAt("/lock")
			holder := recipetest.Must(mutex(w.Client()).Lock(t.Context()))
			var wg sync.WaitGroup
			served := 0
			for range waiters {
				c := w.Client(func(o *session.Options) { o.MaxRequest = 1 << 16 })
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
			const timeouts = 10 * time.Minute / recipetest.Timeout
			syncs := w.Inject(zktest.Rule{Op: "sync", Count: -1, Fate: zktest.DelayRequest})
			before := written(t, w)
			time.Sleep(timeouts * recipetest.Timeout)
			perTimeout := float64(written(t, w)-before-1) / float64(timeouts)
			t.Logf("%d waiters: %.1f writes at the leader in a session timeout, and %.1f syncs of each session that is idle, the observer included",
				waiters, perTimeout, float64(syncs.Fired())/float64(timeouts)/float64(waiters))
			if perTimeout < 11 || perTimeout > 13 {
				t.Errorf("%d waiters: got %.1f writes in a session timeout, want 11 to 13, which is 6 for each of two sessions", waiters, perTimeout)
			}
			syncs.Remove()
			ok(t, holder.Unlock(t.Context()))
			wg.Wait()
			if served != waiters {
				t.Errorf("waiters served: got %d, want %d", served, waiters)
			}
		})
	}
}
