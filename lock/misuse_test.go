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

// Before the fix, the first Acquire stored an invalid capacity, which broke the semaphore for all
// users.
func TestCapacityThatCannotBeIsNotStored(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		if _, err := lock.NewSemaphore(c.Session, "/sem", -5, lock.Options{}).Acquire(t.Context(), 1); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("Acquire with a capacity of -5: got %v, want %v", err, session.ErrInvalid)
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

// A client has created the path of the lock as if it were a directory. No client can hold that
// lock, so no call may wait for it.
func TestZnodeThatIsNoLock(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for path, mode := range map[string]session.Mode{"/job": session.Persistent, "/box": session.Container} {
			if _, err := w.Admin().Create(t.Context(), path, nil, mode); err != nil {
				t.Fatal(err)
			}
			e := lock.NewExclusive(c.Session, path, lock.Options{})
			if _, err := e.TryLock(t.Context()); !errors.Is(err, lock.ErrNotALock) || errors.Is(err, lock.ErrLocked) {
				t.Errorf("TryLock: got %v, want %v", err, lock.ErrNotALock)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := e.Lock(ctx); !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Lock: got %v, want %v", err, lock.ErrNotALock)
			}
			cancel()
			if holder, held, err := e.Holder(t.Context()); held || !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Holder: got %+v, %v, %v, want %v", holder, held, err, lock.ErrNotALock)
			}
		}
	})
}

// In etcd#9980, a holder of permits requests more permits than can be free while it holds them.
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
			t.Errorf("Acquire of 2 permits of 3 while holding 2: got %v, want %v", err, lock.ErrDeadlock)
		}
		if _, err := m.TryAcquire(two.Context(), 2); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryAcquire: got %v, want %v", err, lock.ErrLocked)
		}
		ctx, cancel := context.WithTimeout(one.Context(), time.Minute)
		defer cancel()
		// This is no deadlock, because the release of the second grant would be enough.
		if _, err := m.Acquire(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire of 2 permits of 3 with the context of 1: got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := two.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		// The context has ended, and its permit is free.
		if _, err := m.Acquire(two.Context(), 2); errors.Is(err, lock.ErrDeadlock) {
			t.Errorf("Acquire after Unlock: got %v", err)
		}
	})
}
