package lock_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func semaphore(c *recipetest.Client, capacity int) *lock.Semaphore {
	return lock.NewSemaphore(c.Session, "/sem", capacity, lock.Options{})
}

// The held permits never exceed the capacity, no matter how many each grant has.
//
// Covers L1.
func TestPermitsNeverExceedTheCapacity(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const capacity = 5
		var mu sync.Mutex
		out, most := 0, 0
		var wg sync.WaitGroup
		for i := range 5 {
			c := w.Client()
			wg.Go(func() {
				for round := range 12 {
					n := 1 + (i+round)%capacity
					g, err := semaphore(c, capacity).Acquire(t.Context(), n)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					out += n
					if most = max(most, out); out > capacity {
						t.Errorf("permits held: got %d, want at most %d", out, capacity)
					}
					mu.Unlock()
					time.Sleep(time.Duration(1+i) * time.Millisecond)
					mu.Lock()
					out -= n
					mu.Unlock()
					if err := g.Unlock(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if most < capacity {
			t.Errorf("most permits held at a time: got %d, want %d", most, capacity)
		}
		w.NothingLeft()
		// Check that no permit was lost: one client can acquire all permits at once. CURATOR-335,
		// CURATOR-462 and CURATOR-595 report permits that nobody holds and nobody releases.
		g := recipetest.Must(semaphore(w.Admin(), 0).TryAcquire(t.Context(), capacity))
		ok(t, g.Unlock(t.Context()))
	})
}

// Of the contenders that wait, only the first one reads the capacity and the permit znodes.
//
// Covers L5.
func TestRequestsOfASemaphore(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		ok(t, recipetest.Must(semaphore(a, 2).Acquire(ctx, 1)).Unlock(ctx))
		synctest.Wait()
		a.Requests()
		// The capacity and the permit znodes are read at the same time, so their order is random.
		expect := func(c *recipetest.Client, what, want string) {
			t.Helper()
			synctest.Wait()
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(want, "read", "(getData getChildren2|getChildren2 getData)") + "$")
			if got := c.Requests(); !pattern.MatchString(got) {
				t.Errorf("%s: sent %q, want %q", what, got, want)
			}
		}
		g := recipetest.Must(semaphore(a, 2).Acquire(ctx, 2))
		expect(a, "uncontended", "create getChildren2 read multi")
		second := started(func() (*lock.Grant, error) { return semaphore(b, 2).Acquire(ctx, 1) })
		expect(b, "first to wait", "create getChildren2 read read")
		third := started(func() (*lock.Grant, error) { return semaphore(c, 2).Acquire(ctx, 1) })
		c.Expect(t, "second to wait", "create getChildren2 getData")
		ok(t, g.Unlock(ctx))
		a.Expect(t, "given back", "delete")
		g2 := arrived(t, second)
		expect(b, "handed over", "read multi")
		g3 := arrived(t, third)
		expect(c, "next", "read multi")
		ok(t, g2.Unlock(ctx))
		ok(t, g3.Unlock(ctx))
		w.NothingLeft()
	})
}

// TryAcquire fails if the capacity's znode has data that a Semaphore would never write.
func TestCapacityOfAnotherProgramIsAnError(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		s := semaphore(w.Client(), 1)
		recipetest.Must(s.Capacity(ctx))
		for _, data := range []string{"", "-1", "2147483648", "many"} {
			ok(t, s.SetCapacity(ctx, 1))
			recipetest.Must(w.Admin().Set(ctx, "/sem/capacity", []byte(data), session.AnyVersion))
			if _, err := s.TryAcquire(ctx, 1); err == nil || !strings.Contains(err.Error(), "capacity in /sem/capacity") {
				t.Errorf("TryAcquire with the capacity %q: got error %v, want one that names the znode", data, err)
			}
		}
	})
}

// The capacity can be changed, and waiters are notified.
func TestCapacityCanBeChanged(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		s := semaphore(w.Client(), 1)
		if n := recipetest.Must(s.Capacity(ctx)); n != 1 {
			t.Errorf("Capacity before first use: got %d, want 1", n)
		}
		g := recipetest.Must(s.Acquire(ctx, 1))
		next := started(func() (*lock.Grant, error) { return s.Acquire(ctx, 1) })
		waiting(t, next)
		ok(t, s.SetCapacity(ctx, 2))
		g2 := arrived(t, next)
		ok(t, s.SetCapacity(ctx, 1))
		ok(t, g.Unlock(ctx))
		if _, err := s.TryAcquire(ctx, 1); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryAcquire above the new capacity: got %v, want %v", err, lock.ErrLocked)
		}
		if _, err := s.Acquire(ctx, 2); !errors.Is(err, lock.ErrCapacity) {
			t.Errorf("Acquire of more permits than there are: got %v, want %v", err, lock.ErrCapacity)
		}
		if n := recipetest.Must(semaphore(w.Admin(), 9).Capacity(ctx)); n != 1 {
			t.Errorf("Capacity: got %d, want 1", n)
		}
		ok(t, g2.Unlock(ctx))
		for _, n := range []int{0, -1} {
			if _, err := s.Acquire(ctx, n); err == nil {
				t.Errorf("Acquire of %d permits: got no error, want one", n)
			}
		}
		if err := s.SetCapacity(ctx, -1); err == nil {
			t.Error("SetCapacity to -1: got no error, want one")
		}
		ok(t, w.Admin().DeleteAll(ctx, "/sem"))
		ok(t, s.SetCapacity(ctx, 3))
		ok(t, recipetest.Must(s.Acquire(ctx, 3)).Unlock(ctx))
		w.NothingLeft()
	})
}

// A znode of Curator's InterProcessSemaphoreV2 counts as one permit.
func TestCuratorsLeasesCount(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		s := semaphore(w.Client(), 2)
		g := recipetest.Must(s.Acquire(ctx, 1))
		other := recipetest.Must(w.Client().Create(ctx, "/sem/leases/_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-lease-", nil, session.EphemeralSequential))
		if _, err := s.TryAcquire(ctx, 1); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryAcquire while Curator holds a lease: got %v, want %v", err, lock.ErrLocked)
		}
		ok(t, w.Admin().Delete(ctx, other, session.AnyVersion))
		ok(t, recipetest.Must(s.TryAcquire(ctx, 1)).Unlock(ctx))
		ok(t, g.Unlock(ctx))
	})
}

// A Multi acquires all locks or none, and the loss of one lock ends the whole grant.
//
// Covers L1, L7.
func TestMultiIsAllOrNone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		held := recipetest.Must(mutexAt("/c")(a).Lock(ctx))
		several := lock.NewMulti(b.Session, []string{"/c", "/a", "/b", "/a"}, lock.Options{})
		if _, err := several.TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryLock while one lock is held: got %v, want %v", err, lock.ErrLocked)
		}
		synctest.Wait()
		if left := append(w.Nodes("/a"), w.Nodes("/b")...); len(left) > 0 {
			t.Errorf("znodes after TryLock: got %v, want none", left)
		}
		all := started(func() (*lock.MultiGrant, error) { return several.Lock(ctx) })
		waiting(t, all)
		// One of the acquired locks is lost while the call waits for the last one.
		taken := w.Nodes("/a")
		time.Sleep(recipetest.Timeout)
		ok(t, w.Admin().Delete(ctx, taken[0], session.AnyVersion))
		if r := <-all; !errors.Is(r.err, session.ErrRevoked) {
			t.Errorf("Lock after the loss of one lock: got %v, want %v", r.err, session.ErrRevoked)
		}
		all = started(func() (*lock.MultiGrant, error) { return several.Lock(ctx) })
		ok(t, held.Unlock(ctx))
		g := arrived(t, all)
		if n := len(g.Grants()); n != 3 {
			t.Errorf("locks: got %d, want 3", n)
		}
		if _, err := mutexAt("/b")(a).TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryLock of /b: got %v, want %v", err, lock.ErrLocked)
		}
		ok(t, w.Admin().Delete(ctx, g.Grants()[1].Path(), session.AnyVersion))
		<-g.Context().Done()
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrRevoked) {
			t.Errorf("cause of the grant's context: got %v, want %v", cause, session.ErrRevoked)
		}
		if err := g.Unlock(ctx); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Unlock: got %v, want %v", err, session.ErrRevoked)
		}
		if _, err := lock.NewMulti(b.Session, nil, lock.Options{}).Lock(ctx); err == nil {
			t.Error("Lock of no paths: got no error, want one")
		}
		w.NothingLeft()
	})
}

// The context of a MultiGrant ends before the first of its locks is released.
//
// Covers L1.
func TestMultiEndsBeforeItIsReleased(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client()
		g := recipetest.Must(lock.NewMulti(c.Session, []string{"/a", "/b"}, lock.Options{}).Lock(ctx))
		ended := false
		c.Before("multi", func() { ended = errors.Is(context.Cause(g.Context()), lock.ErrReleased) })
		ok(t, g.Unlock(ctx))
		if !ended {
			t.Error("a lock was released before the context ended")
		}
	})
}

// Several clients request the same locks in different orders, and all of them succeed.
func TestMultisDoNotWaitForEachOther(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		var wg sync.WaitGroup
		for _, paths := range [][]string{{"/a", "/b", "/c"}, {"/c", "/b", "/a"}, {"/b", "/a"}} {
			c := w.Client()
			wg.Go(func() {
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					g, err := lock.NewMulti(c.Session, paths, lock.Options{}).Lock(ctx)
					if err != nil {
						t.Errorf("lock of %v: got %v, want no error", paths, err)
					} else if err := g.Unlock(ctx); err != nil {
						t.Errorf("unlock of %v: got %v, want no error", paths, err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		w.NothingLeft()
	})
}

// In this test the znode of an Exclusive is deleted, and another client creates a new one. The
// Unlock of the first client does not delete the new znode.
//
// Covers L1, L7.
func TestExclusiveLeavesOthersNodesAlone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		e := lock.NewExclusive(a.Session, "/node", lock.Options{Label: "a"})
		g := recipetest.Must(e.TryLock(ctx))
		if holder, any, err := e.Holder(ctx); err != nil || !any || holder.Label != "a" || holder.Session != a.ID() {
			t.Errorf("Holder: got %+v, %v, %v, want label %q of session %#x", holder, any, err, "a", a.ID())
		}
		// A second call does not get the lock, not even in the same session.
		if _, err := e.TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("second TryLock: got %v, want %v", err, lock.ErrLocked)
		}
		ok(t, w.Admin().Delete(ctx, "/node", session.AnyVersion))
		g2 := recipetest.Must(lock.NewExclusive(b.Session, "/node", lock.Options{}).TryLock(ctx))
		if g2.Token() <= g.Token() {
			t.Errorf("second token: got %d, want more than %d", g2.Token(), g.Token())
		}
		g.Unlock(ctx)
		if len(w.Nodes("/")) == 0 || len(w.Ephemerals("/")) != 1 {
			t.Errorf("znodes after Unlock: got %v, want only the ephemeral one of the other client",
				w.Nodes("/"))
		}
		ok(t, g2.Unlock(ctx))
		if _, any, err := e.Holder(ctx); any || err != nil {
			t.Errorf("Holder of a free lock: held %v, error %v; want false and no error", any, err)
		}
		w.NothingLeft()
	})
}

// A permit znode is not mistaken for a znode of Curator, even if its number of permits has as many
// digits as a sequence number.
//
// Covers L1.
func TestManyPermitsAreCounted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const capacity, most = 2_000_000_000, 1_500_000_000
		g := recipetest.Must(semaphore(w.Client(), capacity).TryAcquire(t.Context(), most))
		if _, err := semaphore(w.Client(), capacity).TryAcquire(t.Context(), most); err != lock.ErrLocked {
			t.Errorf("TryAcquire of more permits than are free: got %v, want %v", err, lock.ErrLocked)
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// A waiter for permits continues to wait when its session's lease lapses, like a waiter for a lock.
//
// Covers L3.
func TestWaiterForPermitsOutlivesItsLease(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		holder := recipetest.Must(semaphore(w.Client(), 1).Acquire(t.Context(), 1))
		c := w.Client()
		done := started(func() (*lock.Grant, error) { return semaphore(c, 1).Acquire(t.Context(), 1) })
		synctest.Wait()
		held := recipetest.Must(mutexAt("/lock")(c).Lock(t.Context())) // shows that the lease lapses
		beats := w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Count: -1, Fate: zktest.CloseBeforeRequest})
		time.Sleep(2 * recipetest.Timeout)
		if cause := context.Cause(held.Context()); !errors.Is(cause, session.ErrLeaseLapsed) {
			t.Errorf("context of a lock of the same session: got %v, want %v", cause, session.ErrLeaseLapsed)
		}
		waiting(t, done)
		beats.Remove()
		held.Unlock(t.Context()) // deletes the znode, although the lock is lost
		time.Sleep(recipetest.Timeout)
		ok(t, holder.Unlock(t.Context()))
		r := <-done
		ok(t, r.err)
		if r.err == nil {
			ok(t, r.value.Unlock(t.Context()))
		}
		w.NothingLeft()
	})
}

// In this test two contenders pass the gate. The reply to the first contender's transaction is
// lost. Before the first contender has found out that its transaction was applied, the second
// contender passes. Both get their permits.
//
// Covers L1.
func TestPermitsTakenInDoubtAreKept(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		holder := recipetest.Must(semaphore(w.Client(), 3).Acquire(t.Context(), 3))
		first, second := w.Client(), w.Client()
		a := started(func() (*lock.Grant, error) { return semaphore(first, 3).Acquire(t.Context(), 1) })
		synctest.Wait()
		b := started(func() (*lock.Grant, error) { return semaphore(second, 3).Acquire(t.Context(), 1) })
		synctest.Wait()
		fired := w.Inject(zktest.Rule{Session: first.ID(), Op: "multi", Path: "/sem/locks/*", Fate: zktest.CloseBeforeReply})
		w.Inject(zktest.Rule{Session: first.ID(), Op: "multi", Fate: zktest.DelayRequest, Delay: time.Second}) // the search for the outcome
		ok(t, holder.Unlock(t.Context()))
		ra, rb := <-a, <-b
		if ra.err != nil || rb.err != nil {
			t.Fatalf("Acquire of the contender whose reply was lost: got error %v, want nil; of the other one: got error %v, want nil", ra.err, rb.err)
		}
		if fired.Fired() != 1 {
			t.Errorf("lost replies: got %d, want 1", fired.Fired())
		}
		for _, r := range []*lock.Grant{ra.value, rb.value} {
			if r != nil {
				ok(t, r.Unlock(t.Context()))
			}
		}
		w.NothingLeft()
	})
}

// In this test there is one permit, and a server notifies a contender that the contender ahead of
// it has left the gate. After that, the notified contender's connection is lost before the server
// answers anything else. The next server does not show the other contender's permit znode yet.
// Nevertheless, the notified contender must not take the permit that the other contender holds.
//
// Covers L1.
func TestPermitsAreCountedAsOfTheEvent(t *testing.T) {
	// Repeat the test, because a heartbeat may be sent before the reads. A heartbeat is a write, so
	// the reads after it show all earlier changes. Such a run reveals no bug.
	for range 40 {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			ctx := t.Context()
			a := w.Client(w.On(w.Leader()))
			b, fresh, behind := w.OnFollower()
			ok(t, recipetest.Must(semaphore(a, 1).Acquire(ctx, 1)).Unlock(ctx)) // creates the znodes
			time.Sleep(time.Second)
			w.Inject(zktest.Rule{Session: a.ID(), Op: "multi", Path: "/sem/locks/*", Fate: zktest.DelayRequest, Delay: 400 * time.Millisecond})
			first := started(func() (*lock.Grant, error) { return semaphore(a, 1).Acquire(ctx, 1) })
			second := started(func() (*lock.Grant, error) { return semaphore(b, 1).Acquire(ctx, 1) })
			w.Lag(behind, 300*time.Millisecond)
			time.Sleep(390 * time.Millisecond)
			w.Inject(zktest.Rule{Session: b.ID(), Server: fresh + 1, Fate: zktest.CloseBeforeRequest})
			g := (<-first).must(t)
			time.Sleep(time.Second)
			waiting(t, second)
			ok(t, g.Unlock(ctx))
			ok(t, (<-second).must(t).Unlock(ctx))
		})
	}
}

// Acquire fails if the semaphore's path is empty. An empty path does not mean the root.
func TestSemaphoreWithoutAPathIsRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		if _, err := lock.NewSemaphore(w.Client().Session, "", 1, lock.Options{}).Acquire(t.Context(), 1); session.OutcomeOf(err) != session.Failed {
			t.Errorf("Acquire: got %v, outcome %v, want outcome %v",
				err, session.OutcomeOf(err), session.Failed)
		}
		w.NothingLeft()
	})
}
