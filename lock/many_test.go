package lock_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// heap returns the number of bytes in use on the heap, and the number of goroutines.
func heap() (bytes, goroutines int) {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees what finalizers kept alive during the first call
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc), runtime.NumGoroutine()
}

// costOfHeldLocks acquires n locks in one session. It returns the bytes and goroutines that each
// held lock costs the client. The servers run in this process too, so costOfHeldLocks subtracts
// what the locks' znodes cost the servers.
func costOfHeldLocks(t *testing.T, n int) (bytes, goroutines float64) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		// Measure what znodes cost the servers: another session creates as many znodes as n locks
		// have, and holds no lock.
		other := w.Client()
		recipetest.Must(other.Create(t.Context(), "/nodes", nil, session.Persistent))
		b0, g0 := heap()
		for i := range n {
			dir := fmt.Sprint("/nodes/", i)
			recipetest.Must(other.Create(t.Context(), dir, nil, session.Persistent))
			recipetest.Must(other.Create(t.Context(), dir+"/"+strings.Repeat("x", 32)+"-lock-0000000000", nil, session.Ephemeral))
		}
		synctest.Wait()
		b1, g1 := heap()
		grants := make([]*lock.Grant, n)
		for i := range grants {
			grants[i] = recipetest.Must(lock.NewMutex(c.Session, fmt.Sprint("/locks/", i), lock.Options{}).Lock(t.Context()))
		}
		synctest.Wait()
		b2, g2 := heap()
		bytes, goroutines = float64((b2-b1)-(b1-b0))/float64(n), float64((g2-g1)-(g1-g0))/float64(n)

		// For each grant, the session sets one watch on the grant's znode. After that, the session
		// sends only heartbeats, which prove that the session is alive. The constant `most` limits
		// the number of heartbeats in one session timeout.
		const timeouts, most = 10, 6
		time.Sleep(timeouts * recipetest.Timeout)
		c.Requests()
		wrote := written(t, w)
		time.Sleep(timeouts * recipetest.Timeout)
		if writes := written(t, w) - wrote - 1; writes > (timeouts+1)*most || c.Count() > 0 {
			t.Errorf("%d writes in %d session timeouts with %d locks held, want at most %d a timeout and no other request", writes, timeouts, n, most)
		}
		for i, g := range grants {
			if g.Context().Err() != nil {
				t.Fatalf("lock %d was lost: %v", i, context.Cause(g.Context()))
			}
		}
		// Close sends one request for all locks together, and takes no time.
		c.Requests()
		begun := time.Now()
		recipetest.Check(t, c.Close())
		if sent, took := c.Count(), time.Since(begun); sent > 1 || took > time.Second {
			t.Errorf("Close with %d locks held sent %d requests and took %v, want at most 1 and 1 s", n, sent, took)
		}
		for i, g := range grants {
			if g.Context().Err() == nil {
				t.Fatalf("lock %d is held after Close", i)
			}
		}
	})
	return bytes, goroutines
}

// The function `written` makes a write and returns the zxid of this write. Zxids rise by one with
// each write of any client, so the difference of two results counts the writes.
func written(t *testing.T, w *recipetest.World) int64 {
	recipetest.Must(w.Admin().Set(t.Context(), "/nodes", nil, session.AnyVersion))
	return recipetest.Must(w.Admin().Get(t.Context(), "/nodes")).Stat.Mzxid
}

func TestHeldLocksCostLittle(t *testing.T) {
	bytes, goroutines := costOfHeldLocks(t, 500)
	t.Logf("%.0f bytes and %.2f goroutines for each held lock", bytes, goroutines)
	if bytes > 2<<10 || goroutines > 0.1 {
		t.Errorf("%.0f bytes and %.2f goroutines for each held lock, want at most 2048 and 0.1", bytes, goroutines)
	}
}
