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

// Covers L1. Never more permits than there are, whatever weights.
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
						t.Errorf("%d permits out", out)
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
			t.Errorf("at most %d permits out at a time", most)
		}
		w.NothingLeft()
		// All permits can be had at once: none was lost. CURATOR-335, -462,
		// -595: orphaned leases.
		g := recipetest.Must(semaphore(w.Admin(), 0).TryAcquire(t.Context(), capacity))
		ok(t, g.Unlock(t.Context()))
	})
}

// Covers L5. Only the first who waits looks at the permits.
func TestRequestsOfASemaphore(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b, c := w.Client(), w.Client(), w.Client()
		ok(t, recipetest.Must(semaphore(a, 2).Acquire(ctx, 1)).Unlock(ctx))
		synctest.Wait()
		a.Requests()
		// The permits and those that are out are asked for at once.
		expect := func(c *recipetest.Client, what, want string) {
			t.Helper()
			synctest.Wait()
			look := regexp.MustCompile("^" + strings.ReplaceAll(want, "look", "(getData getChildren2|getChildren2 getData)") + "$")
			if got := c.Requests(); !look.MatchString(got) {
				t.Errorf("%s: sent %q, want %q", what, got, want)
			}
		}
		g := recipetest.Must(semaphore(a, 2).Acquire(ctx, 2))
		expect(a, "uncontended", "create getChildren2 look multi")
		second := started(func() (*lock.Grant, error) { return semaphore(b, 2).Acquire(ctx, 1) })
		expect(b, "first to wait", "create getChildren2 look look")
		third := started(func() (*lock.Grant, error) { return semaphore(c, 2).Acquire(ctx, 1) })
		c.Expect(t, "second to wait", "create getChildren2 getData")
		ok(t, g.Unlock(ctx))
		a.Expect(t, "given back", "delete")
		g2 := arrived(t, second)
		expect(b, "handed over", "look multi")
		g3 := arrived(t, third)
		expect(c, "next", "look multi")
		ok(t, g2.Unlock(ctx))
		ok(t, g3.Unlock(ctx))
		w.NothingLeft()
	})
}

// The capacity can be changed; who waits is told.
func TestCapacityCanBeChanged(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		s := semaphore(w.Client(), 1)
		if n := recipetest.Must(s.Capacity(ctx)); n != 1 {
			t.Errorf("capacity %d before first use", n)
		}
		g := recipetest.Must(s.Acquire(ctx, 1))
		next := started(func() (*lock.Grant, error) { return s.Acquire(ctx, 1) })
		waiting(t, next)
		ok(t, s.SetCapacity(ctx, 2))
		g2 := arrived(t, next)
		ok(t, s.SetCapacity(ctx, 1))
		ok(t, g.Unlock(ctx))
		if _, err := s.TryAcquire(ctx, 1); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("above the new capacity: %v", err)
		}
		if _, err := s.Acquire(ctx, 2); !errors.Is(err, lock.ErrCapacity) {
			t.Errorf("more than there are: %v", err)
		}
		if n := recipetest.Must(semaphore(w.Admin(), 9).Capacity(ctx)); n != 1 {
			t.Errorf("capacity %d", n)
		}
		ok(t, g2.Unlock(ctx))
		for _, n := range []int{0, -1} {
			if _, err := s.Acquire(ctx, n); err == nil {
				t.Errorf("acquired %d permits", n)
			}
		}
		if err := s.SetCapacity(ctx, -1); err == nil {
			t.Error("a capacity of -1")
		}
		ok(t, w.Admin().DeleteAll(ctx, "/sem"))
		ok(t, s.SetCapacity(ctx, 3))
		ok(t, recipetest.Must(s.Acquire(ctx, 3)).Unlock(ctx))
		w.NothingLeft()
	})
}

// Leases of Curator's InterProcessSemaphoreV2 count as one permit each.
func TestCuratorsLeasesCount(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		s := semaphore(w.Client(), 2)
		g := recipetest.Must(s.Acquire(ctx, 1))
		other := recipetest.Must(w.Client().Create(ctx, "/sem/leases/_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-lease-", nil, session.EphemeralSequential))
		if _, err := s.TryAcquire(ctx, 1); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("with one lease of Curator's: %v", err)
		}
		ok(t, w.Admin().Delete(ctx, other, session.AnyVersion))
		ok(t, recipetest.Must(s.TryAcquire(ctx, 1)).Unlock(ctx))
		ok(t, g.Unlock(ctx))
	})
}

// Covers L1, L7. All or none, and the loss of one ends all.
func TestMultiIsAllOrNone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		held := recipetest.Must(mutexAt("/c")(a).Lock(ctx))
		several := lock.NewMulti(b.Session, []string{"/c", "/a", "/b", "/a"}, lock.Options{})
		if _, err := several.TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("one is locked: %v", err)
		}
		synctest.Wait()
		if left := append(w.Nodes("/a"), w.Nodes("/b")...); len(left) > 0 {
			t.Errorf("still taken: %v", left)
		}
		all := started(func() (*lock.MultiGrant, error) { return several.Lock(ctx) })
		waiting(t, all)
		// One that was taken is lost while the last is waited for.
		taken := w.Nodes("/a")
		time.Sleep(recipetest.Timeout)
		ok(t, w.Admin().Delete(ctx, taken[0], session.AnyVersion))
		if r := <-all; !errors.Is(r.err, session.ErrRevoked) {
			t.Errorf("lost one while waiting: %v", r.err)
		}
		all = started(func() (*lock.MultiGrant, error) { return several.Lock(ctx) })
		ok(t, held.Unlock(ctx))
		g := arrived(t, all)
		if n := len(g.Grants()); n != 3 {
			t.Errorf("%d locks", n)
		}
		if _, err := mutexAt("/b")(a).TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("/b: %v", err)
		}
		ok(t, w.Admin().Delete(ctx, g.Grants()[1].Path(), session.AnyVersion))
		<-g.Context().Done()
		if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrRevoked) {
			t.Errorf("cause: %v", cause)
		}
		if err := g.Unlock(ctx); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("unlock: %v", err)
		}
		if _, err := lock.NewMulti(b.Session, nil, lock.Options{}).Lock(ctx); err == nil {
			t.Error("locked nothing")
		}
		w.NothingLeft()
	})
}

// Covers L1. The context of all has ended when the first of them is given up.
func TestMultiEndsBeforeItIsReleased(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client()
		g := recipetest.Must(lock.NewMulti(c.Session, []string{"/a", "/b"}, lock.Options{}).Lock(ctx))
		ended := false
		c.Before("multi", func() { ended = errors.Is(context.Cause(g.Context()), lock.ErrReleased) })
		ok(t, g.Unlock(ctx))
		if !ended {
			t.Error("a lock was given up under a context that had not ended")
		}
	})
}

// Two that want the same locks, in different orders, both get them.
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
						t.Error(err)
					} else if err := g.Unlock(ctx); err != nil {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		w.NothingLeft()
	})
}

// Covers L1, L7. An Exclusive does not delete a node that became another's.
func TestExclusiveLeavesOthersNodesAlone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		e := lock.NewExclusive(a.Session, "/node", lock.Options{Label: "a"})
		g := recipetest.Must(e.TryLock(ctx))
		if holder, any, err := e.Holder(ctx); err != nil || !any || holder.Label != "a" || holder.Session != a.ID() {
			t.Errorf("holder %+v %v %v", holder, any, err)
		}
		// Another call in the same session is somebody else.
		if _, err := e.TryLock(ctx); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("twice: %v", err)
		}
		ok(t, w.Admin().Delete(ctx, "/node", session.AnyVersion))
		g2 := recipetest.Must(lock.NewExclusive(b.Session, "/node", lock.Options{}).TryLock(ctx))
		if g2.Token() <= g.Token() {
			t.Errorf("token %d after %d", g2.Token(), g.Token())
		}
		g.Unlock(ctx)
		if len(w.Nodes("/")) == 0 || len(w.Ephemerals("/")) != 1 {
			t.Error("unlocked another's lock")
		}
		ok(t, g2.Unlock(ctx))
		if _, any, err := e.Holder(ctx); any || err != nil {
			t.Errorf("holder of a free lock: %v %v", any, err)
		}
		w.NothingLeft()
	})
}

// Covers L1. A number of permits with as many digits as a sequence number is
// not taken for one of Curator's leases.
func TestManyPermitsAreCounted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const capacity, most = 2_000_000_000, 1_500_000_000
		g := recipetest.Must(semaphore(w.Client(), capacity).TryAcquire(t.Context(), most))
		if _, err := semaphore(w.Client(), capacity).TryAcquire(t.Context(), most); err != lock.ErrLocked {
			t.Errorf("more permits than there are: %v", err)
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// Covers L3. Who waits for permits goes on waiting over a lapse of the lease, as
// who waits for a lock does.
func TestWaiterForPermitsOutlivesItsLease(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		holder := recipetest.Must(semaphore(w.Client(), 1).Acquire(t.Context(), 1))
		c := w.Client()
		done := started(func() (*lock.Grant, error) { return semaphore(c, 1).Acquire(t.Context(), 1) })
		synctest.Wait()
		others := w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Count: -1, Fate: zktest.CloseBeforeRequest})
		time.Sleep(2 * recipetest.Timeout)
		others.Remove()
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

// Covers L1. The next one at the gate is quicker than the one before it finds
// out that it has passed.
func TestPermitsTakenInDoubtAreKept(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		holder := recipetest.Must(semaphore(w.Client(), 3).Acquire(t.Context(), 3))
		first, second := w.Client(), w.Client()
		a := started(func() (*lock.Grant, error) { return semaphore(first, 3).Acquire(t.Context(), 1) })
		synctest.Wait()
		b := started(func() (*lock.Grant, error) { return semaphore(second, 3).Acquire(t.Context(), 1) })
		synctest.Wait()
		fired := w.Inject(zktest.Rule{Session: first.ID(), Op: "multi", Path: "/sem/locks/*", Fate: zktest.CloseBeforeReply})
		w.Inject(zktest.Rule{Session: first.ID(), Op: "multi", Skip: 1, Fate: zktest.DelayRequest, Delay: time.Second})
		ok(t, holder.Unlock(t.Context()))
		ra, rb := <-a, <-b
		ok(t, ra.err)
		ok(t, rb.err)
		if fired.Fired() != 1 {
			t.Error("no reply was lost")
		}
		for _, r := range []*lock.Grant{ra.value, rb.value} {
			if r != nil {
				ok(t, r.Unlock(t.Context()))
			}
		}
		w.NothingLeft()
	})
}

// The server that told of the departure at the gate is lost before it answered
// anything more, and the next one has not heard of the lease yet.
//
// Covers L1.
func TestPermitsAreCountedAsOfTheEvent(t *testing.T) {
	for range 40 { // as a heartbeat may be sent first, behind which reads are fresh
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			ctx := t.Context()
			a := w.Client(w.On(w.Leader()))
			b, fresh, behind := w.OnFollower()
			ok(t, recipetest.Must(semaphore(a, 1).Acquire(ctx, 1)).Unlock(ctx)) // makes the nodes
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

// No path is not the root.
func TestSemaphoreWithoutAPathIsRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		if _, err := lock.NewSemaphore(w.Client().Session, "", 1, lock.Options{}).Acquire(t.Context(), 1); session.OutcomeOf(err) != session.Failed {
			t.Errorf("acquired: %v", err)
		}
		w.NothingLeft()
	})
}
