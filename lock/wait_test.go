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

var manyWaiters = flag.Int("waiters", 0, "run TestWaitersWriteNothing also with this many waiters, if not 0")

// While contenders wait, only the holder and the next contender write, no matter how many wait.
// After ten idle minutes, each waiter is served in its turn. Each waiter is a session of its own
// that waits in Mutex.Lock. A run with 5,000 waiters idles for only two minutes. It needs 11 GB of
// memory, because both ends of each connection keep buffers that are as large as the list of the
// contenders' names:
//
//	go test ./lock -run WaitersWriteNothing -waiters 5000 -v
//
// Covers L11.
func TestWaitersWriteNothing(t *testing.T) {
	counts := []int{1, 40}
	if *manyWaiters > 0 {
		counts = append(counts, *manyWaiters)
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
					served++ // the lock protects `served`
					ok(t, g.Unlock(t.Context()))
				})
				synctest.Wait()
			}
			// Each waiter sends syncs while it idles. These syncs take most of the real time of the
			// test. Up to 1,000 waiters idle for 100 session timeouts. If there are more waiters,
			// they idle for a shorter time, but at least for 10 session timeouts. This limits the
			// number of syncs.
			timeouts := time.Duration(min(100, max(10, 100_000/waiters)))
			syncs := w.Inject(zktest.Rule{Op: "sync", Count: -1, Fate: zktest.DelayRequest})
			before := written(t, w)
			time.Sleep(timeouts * recipetest.Timeout)
			perTimeout := float64(written(t, w)-before-1) / float64(timeouts)
			t.Logf("%d waiters: %.1f writes at the leader in a session timeout, and %.1f syncs of each idle session, including that of w.Admin()",
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
