package lock_test

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// With Options.Delay, each holder leaves a mark, which shows the next contender whether the holder
// vanished. The mark of a holder that vanished must remain, even if no contender is left.
// Regression: the mark was the data of the lock's directory, which is a container. When the
// container was empty, the servers deleted it together with the mark. A lock with a delay of 30 s
// was then granted 7 s after its holder had vanished.
//
// Covers L8.
func TestDelayOutlivesTheContainer(t *testing.T) {
	for _, before := range []time.Duration{0, 55 * time.Second, 5*time.Minute + 1} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			o := lock.Options{Delay: 30 * time.Second}
			dies, next := w.Client(), w.Client()
			m := lock.NewMutex(dies.Session, "/app/l", o)
			ok(t, recipetest.Must(m.Lock(t.Context())).Unlock(t.Context()))
			recipetest.Must(m.Lock(t.Context()))
			time.Sleep(before) // the servers check for empty containers once a minute
			dies.Lose()
			gone := time.Now()
			time.Sleep(2 * time.Minute)
			recipetest.Must(lock.NewMutex(next.Session, "/app/l", o).TryLock(t.Context()))
			if after := time.Since(gone); after < 2*time.Minute+o.Delay {
				t.Errorf("holder that held for %v: granted %v after it vanished, want at least %v",
					before, after, 2*time.Minute+o.Delay)
			}
		})
	}
}

// With Options.Delay, each holder leaves a mark, which shows the next contender whether the holder
// vanished. The mark is the data of the znode `delay` below the path of the lock. In this test a
// client deletes this znode while the lock is held. The lock can still be released and acquired
// again.
//
// Covers L4, L8.
func TestDelayWithoutItsMark(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := lock.NewMutex(c.Session, "/app/l", lock.Options{Delay: 30 * time.Second})
		for range 2 {
			g := recipetest.Must(m.Lock(t.Context()))
			ok(t, w.Admin().Delete(t.Context(), "/app/l/delay", session.AnyVersion))
			ok(t, g.Unlock(t.Context()))
			w.NothingLeft()
		}
	})
}
