package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// A capacity that cannot be was stored by the first Acquire, and broke the semaphore for everybody.
func TestCapacityThatCannotBeIsNotStored(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		if _, err := lock.NewSemaphore(c.Session, "/sem", -5, lock.Options{}).Acquire(t.Context(), 1); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("Acquire with a capacity of -5: %v", err)
		}
		grant, err := lock.NewSemaphore(c.Session, "/sem", 3, lock.Options{}).Acquire(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := grant.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Somebody made the lock's path beforehand, as for a directory. Nobody holds that lock and nobody can, so nobody may
// wait for it.
func TestZnodeThatIsNoLock(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for path, mode := range map[string]session.Mode{"/job": session.Persistent, "/box": session.Container} {
			if _, err := w.Admin().Create(t.Context(), path, nil, mode); err != nil {
				t.Fatal(err)
			}
			e := lock.NewExclusive(c.Session, path, lock.Options{})
			if _, err := e.TryLock(t.Context()); !errors.Is(err, lock.ErrNotALock) || errors.Is(err, lock.ErrLocked) {
				t.Errorf("TryLock: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := e.Lock(ctx); !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Lock: %v", err)
			}
			cancel()
			if holder, held, err := e.Holder(t.Context()); held || !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Holder: %+v, %v, %v", holder, held, err)
			}
		}
	})
}

// etcd#9980: the holder of permits asks for more than can be free while it holds them.
func TestHolderOfPermitsDoesNotWaitForItself(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := lock.NewSemaphore(c.Session, "/s", 3, lock.Options{})
		one, err := m.Acquire(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		two, err := m.Acquire(one.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Acquire(two.Context(), 2); !errors.Is(err, lock.ErrDeadlock) {
			t.Errorf("2 of 3 while 2 are held: %v", err)
		}
		if _, err := m.TryAcquire(two.Context(), 2); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("try: %v", err)
		}
		ctx, cancel := context.WithTimeout(one.Context(), time.Minute)
		defer cancel()
		if _, err := m.Acquire(ctx, 2); !errors.Is(err, context.DeadlineExceeded) { // the second grant's end would do
			t.Errorf("2 of 3 in the context of 1: %v", err)
		}
		if err := two.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := m.Acquire(two.Context(), 2); errors.Is(err, lock.ErrDeadlock) { // the context has ended, and its permit is back
			t.Errorf("after Unlock: %v", err)
		}
	})
}
