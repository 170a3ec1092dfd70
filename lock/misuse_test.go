package lock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// An Acquire with an invalid capacity fails and does not store the capacity. Regression: the first
// Acquire stored an invalid capacity, which broke the semaphore for all users.
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

// The calls of an Exclusive fail with ErrNotALock if the znode at the lock's path is not ephemeral.
// No client can hold such a lock, so a call must not wait for the lock.
func TestZnodeThatIsNoLock(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for path, mode := range map[string]session.Mode{"/job": session.Persistent, "/box": session.Container} {
			if _, err := w.Admin().Create(t.Context(), path, nil, mode); err != nil {
				t.Fatal(err)
			}
			e := lock.NewExclusive(c.Session, path, lock.Options{})
			if _, err := e.TryLock(t.Context()); !errors.Is(err, lock.ErrNotALock) || errors.Is(err, lock.ErrLocked) {
				t.Errorf("TryLock of %s: got %v, want %v", path, err, lock.ErrNotALock)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := e.Lock(ctx); !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Lock of %s: got %v, want %v", path, err, lock.ErrNotALock)
			}
			cancel()
			if holder, held, err := e.Holder(t.Context()); held || !errors.Is(err, lock.ErrNotALock) {
				t.Errorf("Holder of %s: got %+v, held %v, error %v; want false and %v",
					path, holder, held, err, lock.ErrNotALock)
			}
		}
	})
}

// In this test a holder of two of three permits requests two more. The call fails, because
// otherwise it would wait for the caller's own permits, as in etcd#9980.
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
		// This call waits, because it is not in a deadlock: its context belongs only to the first
		// grant, and the release of the second grant would free enough permits.
		if _, err := m.Acquire(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire of 2 permits of 3 with the context of 1: got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := two.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		// The grant of this context has ended, so its permit no longer counts. The call fails with
		// the cause of the context, and not with ErrDeadlock.
		if _, err := m.Acquire(two.Context(), 2); !errors.Is(err, lock.ErrReleased) {
			t.Errorf("Acquire with the context of an ended grant: got error %v, want %v", err, lock.ErrReleased)
		}
	})
}

// Permits that are held count once, whether the next request uses a context of Do or of Bind. In
// this test, two of three permits are held. A request for two more fails, and a request for one
// succeeds. Regression: the contexts of Do and Bind did not contain the number of held permits, so
// the request for two waited without end.
func TestPermitsOfDoCountOnce(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		m := lock.NewSemaphore(w.Client().Session, "/s", 3, lock.Options{})
		err := m.Do(t.Context(), 2, func(ctx context.Context, g *lock.Grant) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			for name, ctx := range map[string]context.Context{"Do": ctx, "Bind": g.Bind(ctx), "Bind of Context": g.Bind(g.Context())} {
				if _, err := m.Acquire(ctx, 2); !errors.Is(err, lock.ErrDeadlock) {
					t.Errorf("%s: Acquire of 2 permits of 3 while holding 2: got %v, want %v", name, err, lock.ErrDeadlock)
				}
				one, err := m.Acquire(ctx, 1)
				if err != nil {
					t.Errorf("%s: Acquire of the last permit: got %v, want no error", name, err)
					continue
				}
				ok(t, one.Unlock(t.Context()))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Acquire fails if the requested permits can never become free because the caller itself holds too
// many. It fails even if another contender already waits for permits. Otherwise that contender
// would wait for the caller's permit, and the caller would wait for that contender.
func TestHolderDoesNotWaitBehindOthersForItself(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c, other := w.Client(), w.Client()
		m := lock.NewSemaphore(c.Session, "/s", 1, lock.Options{})
		grant := recipetest.Must(m.Acquire(t.Context(), 1))
		second := make(chan error, 1)
		go func() {
			_, err := lock.NewSemaphore(other.Session, "/s", 1, lock.Options{}).Acquire(t.Context(), 1)
			second <- err
		}()
		synctest.Wait()
		for permits, want := range map[int]error{1: lock.ErrDeadlock, 2: lock.ErrCapacity} {
			ctx, cancel := context.WithTimeout(grant.Context(), time.Minute)
			defer cancel()
			if _, err := m.Acquire(ctx, permits); !errors.Is(err, want) {
				t.Errorf("Acquire of %d permits of 1 while holding 1: got %v, want %v", permits, err, want)
			}
		}
		recipetest.Check(t, grant.Unlock(t.Context()))
		recipetest.Check(t, <-second)
	})
}

// In this test the holder's server has not yet applied the change that raised the capacity. Acquire
// must not fail because of the old capacity.
func TestRaisedCapacityIsNoDeadlock(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		leader := w.Leader()
		behind, other := w.Client(w.On(leader)), w.Client(w.On((leader+1)%3))
		m := lock.NewSemaphore(behind.Session, "/s", 1, lock.Options{})
		grant := recipetest.Must(m.Acquire(t.Context(), 1))
		w.Lag(leader, 200*time.Millisecond)
		recipetest.Check(t, lock.NewSemaphore(other.Session, "/s", 1, lock.Options{}).SetCapacity(t.Context(), 2))
		if n, err := m.Capacity(t.Context()); n != 1 || err != nil {
			t.Fatalf("Capacity at the server that is behind: got %d, %v, want 1", n, err)
		}
		if _, err := m.Acquire(grant.Context(), 1); err != nil {
			t.Errorf("Acquire of 1 permit of 2 while holding 1: got %v, want nil", err)
		}
	})
}

// In this test the caller holds the second path of a Multi. Another client holds the first path and
// waits for the second. If the caller waited for the first path, both would wait forever. So the
// caller's Lock fails.
func TestHolderOfOnePathDoesNotWaitForTheOthers(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c, other := w.Client(), w.Client()
		grant := recipetest.Must(lock.NewMutex(c.Session, "/b", lock.Options{}).Lock(t.Context()))
		second := make(chan error, 1)
		paths := []string{"/a", "/b"}
		go func() {
			_, err := lock.NewMulti(other.Session, paths, lock.Options{}).Lock(t.Context())
			second <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(grant.Context(), time.Minute)
		defer cancel()
		m := lock.NewMulti(c.Session, paths, lock.Options{})
		if _, err := m.Lock(ctx); !errors.Is(err, lock.ErrDeadlock) {
			t.Errorf("Lock of %q while holding /b: got %v, want %v", paths, err, lock.ErrDeadlock)
		}
		if _, err := m.TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryLock: got %v, want %v", err, lock.ErrLocked)
		}
		recipetest.Check(t, grant.Unlock(t.Context()))
		recipetest.Check(t, <-second)
	})
}
