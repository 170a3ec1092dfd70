package lock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func mutexAt(path string) func(c *recipetest.Client) *lock.Mutex {
	return func(c *recipetest.Client) *lock.Mutex { return lock.NewMutex(c.Session, path, lock.Options{}) }
}

// In this test the holder is connected to a follower that is cut off. The follower still answers
// pings and reads, so the answers do not show the loss of the lock. The context of the grant
// nevertheless ends before another client is granted the lock. In samuel/go-zookeeper#20 and #190,
// the holder is not notified that it lost the lock.
//
// Covers L1.
func TestHolderIsNotifiedBeforeTheNextGrant(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		mutex := mutexAt("/lock")
		follower := (w.Leader() + 1) % 3
		a := w.Client(w.On(follower))
		b := w.Client(w.On(w.Leader()))
		held := recipetest.Must(mutex(a).Lock(t.Context()))
		ends := make(chan time.Time, 1)
		context.AfterFunc(held.Context(), func() { ends <- time.Now() })
		next := started(func() (*lock.Grant, error) { return mutex(b).Lock(t.Context()) })
		time.Sleep(time.Second)
		w.Isolate(follower)
		begun := time.Now()
		g := (<-next).must(t)
		var ended time.Time
		select {
		case ended = <-ends:
		default:
			t.Fatal("second client granted while the context of the first grant is alive")
		}
		t.Logf("context ended after %v, other client granted after %v", ended.Sub(begun), time.Since(begun))
		if cause := context.Cause(held.Context()); !errors.Is(cause, session.ErrLeaseLapsed) {
			t.Errorf("cause of the first grant's context: got %v, want %v", cause, session.ErrLeaseLapsed)
		}
		if g.Token() <= held.Token() {
			t.Errorf("second token: got %d, want more than %d", g.Token(), held.Token())
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// Many clients use one path. They hold the lock one at a time, in the order in which they joined,
// and their tokens grow, even after the path was deleted.
//
// Covers L1, L2, L3.
func TestOneAtATimeInOrder(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const clients, rounds = 5, 20
		mutex := mutexAt("/lock")
		var mu sync.Mutex
		var holders int
		var last lock.Token
		var wg sync.WaitGroup
		for range clients {
			c := w.Client()
			wg.Go(func() {
				for range rounds {
					g, err := mutex(c).Lock(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if holders++; holders > 1 || g.Token() <= last {
						t.Errorf("got %d holders, token %d, want 1 holder, a token above %d", holders, g.Token(), last)
					}
					last = g.Token()
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					holders--
					mu.Unlock()
					if err := g.Unlock(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		w.NothingLeft()
		ok(t, w.Admin().DeleteAll(t.Context(), "/lock"))
		g := recipetest.Must(mutex(w.Admin()).Lock(t.Context()))
		if g.Token() <= last {
			t.Errorf("token after the deletion: got %d, want more than %d", g.Token(), last)
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// Contenders are served in the order in which they joined.
//
// Covers L3.
func TestGrantsAreInOrder(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		mutex := mutexAt("/lock")
		first := recipetest.Must(mutex(w.Client()).Lock(t.Context()))
		var order []int
		var wg sync.WaitGroup
		for i := range 6 {
			c := w.Client()
			wg.Go(func() {
				g, err := mutex(c).Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i) // the lock protects `order`
				g.Unlock(t.Context())
			})
			synctest.Wait()
		}
		ok(t, first.Unlock(t.Context()))
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 6 {
			t.Errorf("order of grants: got %v, want 0 to 5", order)
		}
	})
}

// Readers and writers are all served, no matter in which order they join. In kazoo#649, a contender
// watched a later one, and both waited forever.
//
// Covers L5.
func TestReadersAndWritersAllPass(t *testing.T) {
	for order := range 1 << 5 {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			var mu sync.Mutex
			readers, writers := 0, 0
			enter := func(reading bool, d int) {
				mu.Lock()
				defer mu.Unlock()
				if reading {
					readers += d
				} else {
					writers += d
				}
				if writers > 1 || writers == 1 && readers > 0 {
					t.Errorf("order %05b: held by %d writers and %d readers at a time, want one writer or readers only",
						order, writers, readers)
				}
			}
			var wg sync.WaitGroup
			for i := range 5 {
				c := w.Client()
				reading := order>>i&1 == 1
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					rw := lock.NewRWMutex(c.Session, "/rw", lock.Options{})
					take := func() (undo, error) { return unlocker(rw.Lock(ctx)) }
					if reading {
						take = func() (undo, error) { return unlocker(rw.RLock(ctx)) }
					}
					release, err := take()
					if err != nil {
						t.Errorf("order %05b: got %v, want the lock", order, err)
						return
					}
					enter(reading, 1)
					time.Sleep(time.Second)
					enter(reading, -1)
					if err := release(ctx); err != nil {
						t.Errorf("order %05b: release: got %v, want no error", order, err)
					}
				})
				synctest.Wait()
			}
			wg.Wait()
			w.NothingLeft()
		})
	}
}

// A Try call that fails leaves no znode, and neither does a call that times out. In kazoo#732 and
// #429, a failed non-blocking call left its znode. go-zookeeper/zk#116 and #138 and samuel#164 are
// requests for a non-blocking call and a timeout.
//
// Covers L4.
func TestTryAndTimeoutLeaveNothing(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, b := w.Client(), w.Client()
		held := recipetest.Must(lock.NewRWMutex(a.Session, "/lock", lock.Options{}).Lock(t.Context()))
		before := w.Nodes("/lock")
		rw := lock.NewRWMutex(b.Session, "/lock", lock.Options{})
		for name, try := range map[string]func(context.Context) error{
			"Mutex":  func(ctx context.Context) error { _, err := mutexAt("/lock")(b).TryLock(ctx); return err },
			"writer": func(ctx context.Context) error { _, err := rw.TryLock(ctx); return err },
			"reader": func(ctx context.Context) error { _, err := rw.TryRLock(ctx); return err },
			"several": func(ctx context.Context) error {
				_, err := lock.NewMulti(b.Session, []string{"/z", "/lock", "/a"}, lock.Options{}).TryLock(ctx)
				return err
			},
		} {
			if err := try(t.Context()); !errors.Is(err, lock.ErrLocked) {
				t.Errorf("%s: got %v, want %v", name, err, lock.ErrLocked)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := mutexAt("/lock")(b).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock: got %v, want %v", err, context.DeadlineExceeded)
		}
		synctest.Wait()
		if after := w.Nodes("/lock"); !slices.Equal(before, after) {
			t.Errorf("znodes: got %v, want %v", after, before)
		}
		ok(t, held.Unlock(t.Context()))
		w.NothingLeft()
	})
}

// The znode of a failed Try call does not block the next call.
func TestTryAgainAtOnce(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, b := w.Client(), w.Client()
		for range 20 {
			held := recipetest.Must(mutexAt("/lock")(a).TryLock(t.Context()))
			permits := recipetest.Must(semaphore(a, 2).TryAcquire(t.Context(), 2))
			if _, err := mutexAt("/lock")(b).TryLock(t.Context()); !errors.Is(err, lock.ErrLocked) {
				t.Errorf("TryLock: got %v, want %v", err, lock.ErrLocked)
			}
			if _, err := semaphore(b, 2).TryAcquire(t.Context(), 1); !errors.Is(err, lock.ErrLocked) {
				t.Errorf("TryAcquire: got %v, want %v", err, lock.ErrLocked)
			}
			ok(t, held.Unlock(t.Context()))
			ok(t, permits.Unlock(t.Context()))
		}
	})
}

// A waiter that gives up removes its watches, which have not fired because the holder still holds
// the lock.
//
// Covers L4, L5.
func TestCancelledWaiterLeavesNoWatch(t *testing.T) {
	for name, wait := range calls {
		if name == "downgraded" {
			continue // waits like a writer
		}
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			recipetest.Must(block(name)(t.Context(), w.Client().Session))
			time.Sleep(recipetest.Timeout) // until the holders watch their own znodes
			before := w.Watches()
			c := w.Client()
			ctx, cancel := context.WithCancel(t.Context())
			wait := started(func() (undo, error) { return wait(ctx, c.Session) })
			waiting(t, wait)
			if w.Watches() <= before {
				t.Errorf("%s: got %d watches, want more than %d", name, w.Watches(), before)
			}
			cancel()
			if r := <-wait; !errors.Is(r.err, context.Canceled) {
				t.Errorf("%s: got %v, want %v", name, r.err, context.Canceled)
			}
			time.Sleep(recipetest.Timeout)
			if after := w.Watches(); after != before {
				t.Errorf("%s: watches after the call: got %d, want %d", name, after, before)
			}
		})
	}
}

// In this test the session of a holder expires, as in kazoo#2 and CURATOR-206. The context of the
// grant ends, Unlock returns the cause, and the next contender is granted the lock.
//
// Covers L1, L7.
func TestLostHolderGetsTheCause(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, b := w.Client(), w.Client()
		held := recipetest.Must(mutexAt("/lock")(a).Lock(t.Context()))
		next := started(func() (*lock.Grant, error) { return mutexAt("/lock")(b).Lock(t.Context()) })
		a.Lose()
		<-held.Context().Done()
		if err := held.Unlock(t.Context()); !errors.Is(err, session.ErrLost) && !errors.Is(err, session.ErrLeaseLapsed) {
			t.Errorf("Unlock of a lost lock: got %v, want %v or %v", err, session.ErrLost, session.ErrLeaseLapsed)
		}
		g := arrived(t, next)
		ok(t, g.Unlock(t.Context()))
		if err := g.Unlock(t.Context()); !errors.Is(err, lock.ErrReleased) {
			t.Errorf("second Unlock: got %v, want %v", err, lock.ErrReleased)
		}
	})
}

// A new session of a client waits until the znode of the client's old session is gone. In
// CURATOR-604 and CURATOR-498, a client acquired a lock by the znode of its old session, although
// the servers were about to delete that znode.
//
// Covers L1.
func TestNewSessionWaitsForTheOldOnesNode(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		cut := false
		a := w.Client(func(o *session.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if cut {
					return nil, errors.New("unplugged")
				}
				return dial(ctx, network, address)
			}
		})
		held := recipetest.Must(mutexAt("/lock")(a).Lock(t.Context()))
		cut = true
		w.Inject(zktest.Rule{Session: a.ID(), Fate: zktest.CloseBeforeRequest})
		<-held.Context().Done()
		b := w.Client()
		next := started(func() (*lock.Grant, error) { return mutexAt("/lock")(b).Lock(t.Context()) })
		waiting(t, next)
		g := (<-next).must(t)
		ok(t, g.Unlock(t.Context()))
	})
}

// A goroutine that receives session states can release a lock. In kazoo#381, a release in a
// listener for session states caused a deadlock.
func TestUnlockInAListener(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a := w.Client()
		held := recipetest.Must(mutexAt("/lock")(a).Lock(t.Context()))
		told := make(chan error, 1)
		go func() {
			for state := range a.States(t.Context()) {
				if state == session.Suspended {
					told <- held.Unlock(t.Context())
				}
			}
		}()
		synctest.Wait() // until the goroutine receives states
		w.Inject(zktest.Rule{Session: a.ID(), Fate: zktest.CloseBeforeRequest})
		a.Exists(t.Context(), "/")
		ok(t, <-told)
		w.NothingLeft()
	})
}

// A call succeeds if the contender that blocks it departs while the call runs. Each run tests a
// departure at another moment, for example before the call has set its watch.
func TestPredecessorGoesAtAnyMoment(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			recipetest.Call{Do: call, Block: block(name)}.UnblockedAtEveryMoment(t)
		})
	}
}

// Children of the lock's directory that are not contenders have no effect. In go-zookeeper/zk
// lock.go:110 and Netflix/curator#30, such children broke the lock.
func TestForeignChildrenAreIgnored(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		for _, name := range []string{"/lock", "/lock/config", "/lock/0000000000", "/lock/x-0000000001", "/lock/lock-", "/lock/_c_x"} {
			_, err := w.Admin().Create(t.Context(), name, nil, session.Persistent)
			ok(t, err)
		}
		g := recipetest.Must(mutexAt("/lock")(w.Client()).TryLock(t.Context()))
		ok(t, g.Unlock(t.Context()))
	})
}

// Znodes of the locks of Curator and kazoo count as contenders.
func TestOtherLibrariesContendersCount(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		other := w.Client()
		for _, prefix := range []string{
			"_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-lock-", "9f86d081884c7d659a2feaa0c55ad015__lock__",
			"_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-__WRIT__", "_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-__READ__",
		} {
			ok(t, recipe.CreateParents(t.Context(), w.Admin().Session, "/lock/x"))
			node := recipetest.Must(other.Create(t.Context(), "/lock/"+prefix, nil, session.EphemeralSequential))
			c := w.Client()
			next := started(func() (*lock.Grant, error) { return mutexAt("/lock")(c).Lock(t.Context()) })
			waiting(t, next)
			_, err := other.Set(t.Context(), node, []byte("x"), session.AnyVersion)
			ok(t, err)
			waiting(t, next) // the change of the other znode's data does not end the wait
			ok(t, other.Delete(t.Context(), node, session.AnyVersion))
			ok(t, arrived(t, next).Unlock(t.Context()))
		}
	})
}

// In this test the lock's directory is deleted while a contender waits, as in kazoo#563. The holder
// and the waiter both get session.ErrRevoked, and the lock can be acquired again.
func TestParentRemovedWhileWaiting(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		a, b := w.Client(), w.Client()
		held := recipetest.Must(mutexAt("/lock")(a).Lock(t.Context()))
		next := started(func() (*lock.Grant, error) { return mutexAt("/lock")(b).Lock(t.Context()) })
		time.Sleep(recipetest.Timeout)
		ok(t, w.Admin().DeleteAll(t.Context(), "/lock"))
		<-held.Context().Done()
		if cause := context.Cause(held.Context()); !errors.Is(cause, session.ErrRevoked) {
			t.Errorf("cause of the holder's context: got %v, want %v", cause, session.ErrRevoked)
		}
		// The waiter gets the error session.ErrRevoked from its call or from its grant.
		r := <-next
		if r.err == nil {
			<-r.value.Context().Done()
			r.err = context.Cause(r.value.Context())
		}
		if !errors.Is(r.err, session.ErrRevoked) {
			t.Errorf("waiter: got %v, want %v", r.err, session.ErrRevoked)
		}
		w.NothingLeft()
		ok(t, recipetest.Must(mutexAt("/lock")(a).Lock(t.Context())).Unlock(t.Context()))
	})
}

// If the session of a waiting reader expires, only the waiting call fails. Calls in a new session
// succeed. In CURATOR-307, such a reader found an empty directory, and all its later calls failed
// because its znode was missing.
func TestDirectoryIsEmptyAfterExpiry(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		rw := func(c *recipetest.Client) *lock.RWMutex { return lock.NewRWMutex(c.Session, "/lock", lock.Options{}) }
		a, b := w.Client(), w.Client()
		held := recipetest.Must(rw(a).Lock(t.Context()))
		next := started(func() (*lock.Grant, error) { return rw(b).RLock(t.Context()) })
		b.Lose()
		a.Lose()
		if r := <-next; !errors.Is(r.err, session.ErrLost) {
			t.Errorf("RLock of the expired reader: got error %v, want %v", r.err, session.ErrLost)
		}
		<-held.Context().Done()
		if nodes := w.Ephemerals("/lock"); len(nodes) > 0 {
			t.Errorf("ephemeral znodes left: got %v, want none", nodes)
		}
		c := w.Client()
		ok(t, recipetest.Must(rw(c).RLock(t.Context())).Unlock(t.Context()))
		ok(t, recipetest.Must(rw(c).Lock(t.Context())).Unlock(t.Context()))
	})
}

// A waiter whose session has expired is granted nothing, even if its server is an isolated follower
// that shows the waiter as the first contender. In etcd#16221, two writers held the lock after the
// session of a waiter had expired.
func TestExpiredWaiterIsGrantedNothing(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		follower := (w.Leader() + 1) % 3
		a, b, c := w.Client(w.On(w.Leader())), w.Client(w.On(follower)), w.Client(w.On(w.Leader()))
		held := recipetest.Must(mutexAt("/lock")(a).Lock(t.Context()))
		second := started(func() (*lock.Grant, error) { return mutexAt("/lock")(b).Lock(t.Context()) })
		// Cut the follower off, and let it apply the release only after the waiter's session has
		// expired.
		w.Lag(follower, 9*time.Second)
		ok(t, held.Unlock(t.Context()))
		w.Isolate(follower)
		third := started(func() (*lock.Grant, error) { return mutexAt("/lock")(c).Lock(t.Context()) })
		begun := time.Now()
		g := (<-third).must(t)
		if took := time.Since(begun); took > 8500*time.Millisecond {
			t.Fatalf("third client granted after %v, want at most 8.5s for this test", took)
		}
		time.Sleep(9100*time.Millisecond - time.Since(begun))
		waiting(t, second)
		ok(t, g.Unlock(t.Context()))
		w.Lag(follower, 0)
		w.Mend()
		if r := <-second; !errors.Is(r.err, session.ErrLost) {
			t.Errorf("expired waiter: got error %v, want %v", r.err, session.ErrLost)
		}
	})
}

// A call with the context of a grant fails if it would wait for the lock of that grant.
func TestWaitingForOneself(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		rw := lock.NewRWMutex(c.Session, "/rw", lock.Options{})
		reader := recipetest.Must(rw.RLock(t.Context()))
		inner := recipetest.Must(mutexAt("/other")(c).Lock(reader.Context()))
		for name, ctx := range map[string]context.Context{"upgrade": reader.Context(), "nested": inner.Context()} {
			if _, err := rw.Lock(ctx); !errors.Is(err, lock.ErrDeadlock) {
				t.Errorf("%s: got %v, want %v", name, err, lock.ErrDeadlock)
			}
		}
		several := lock.NewMulti(c.Session, []string{"/x", "/y"}, lock.Options{})
		both := recipetest.Must(several.Lock(t.Context()))
		for _, path := range []string{"/x", "/y"} {
			if _, err := mutexAt(path)(c).Lock(both.Context()); !errors.Is(err, lock.ErrDeadlock) {
				t.Errorf("%s: got %v, want %v", path, err, lock.ErrDeadlock)
			}
		}
		recipetest.Must(c.Create(t.Context(), "/app", nil, session.Persistent))
		elsewhere := w.Client(func(o *session.Options) { o.Chroot = "/app" })
		namesake := recipetest.Must(mutexAt("/other")(elsewhere).Lock(inner.Context()))
		ok(t, namesake.Unlock(t.Context()))
		ok(t, both.Unlock(t.Context()))
		ok(t, inner.Unlock(t.Context()))
		ok(t, reader.Unlock(t.Context()))
	})
}

// If the holder of a lock leaves while a list of contenders is read, the list shows the next
// contender as the holder. Regression: such a list showed no holder.
func TestContendersWhileTheHolderLeaves(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		first := recipetest.Must(lock.NewMutex(w.Client().Session, "/lock", lock.Options{}).Lock(ctx))
		second := lock.NewMutex(w.Client().Session, "/lock", lock.Options{Label: "next"})
		next := started(func() (*lock.Grant, error) { return second.Lock(ctx) })
		admin := w.Admin()
		w.Inject(zktest.Rule{Session: admin.ID(), Op: "getData", Fate: zktest.DelayRequest, Delay: time.Second})
		list := started(func() ([]lock.Contender, error) {
			return lock.NewMutex(admin.Session, "/lock", lock.Options{}).Contenders(ctx)
		})
		ok(t, first.Unlock(ctx))
		grant := arrived(t, next)
		time.Sleep(time.Second) // until the server has processed the delayed getData
		if got := arrived(t, list); len(got) != 1 || got[0].Label != "next" || !got[0].Holds {
			t.Errorf("contenders: got %+v, want only \"next\", which holds the lock", got)
		}
		ok(t, grant.Unlock(ctx))
	})
}

func TestContendersAndWhoBlocks(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		rw := make(map[string]*lock.RWMutex)
		for _, label := range []string{"a", "b", "c", "d"} {
			rw[label] = lock.NewRWMutex(w.Client().Session, "/rw", lock.Options{Label: label})
		}
		a := recipetest.Must(rw["a"].Lock(t.Context()))
		b := started(func() (*lock.Grant, error) { return rw["b"].RLock(t.Context()) })
		c := started(func() (*lock.WriteGrant, error) { return rw["c"].Lock(t.Context()) })
		d := started(func() (*lock.Grant, error) { return rw["d"].RLock(t.Context()) })
		admin := lock.NewRWMutex(w.Admin().Session, "/rw", lock.Options{})
		show := func() (s string) {
			for _, c := range recipetest.Must(admin.Contenders(t.Context())) {
				s += c.Label
				if c.Holds {
					s += "!"
				}
			}
			return s
		}
		if got := show(); got != "a!bcd" {
			t.Errorf("contenders: got %q, want %q", got, "a!bcd")
		}
		ok(t, a.Downgrade(t.Context()))
		rb := arrived(t, b)
		if got := show(); got != "a!b!cd" {
			t.Errorf("contenders after the downgrade: got %q, want %q", got, "a!b!cd")
		}
		list := recipetest.Must(admin.Contenders(t.Context()))
		blocks := ""
		for _, c := range recipetest.Must(admin.WhoBlocks(t.Context(), list[3].Path)) {
			blocks += c.Label
		}
		if blocks != "c" {
			t.Errorf("contenders that block d: got %q, want %q", blocks, "c")
		}
		if _, err := admin.WhoBlocks(t.Context(), "/rw/none"); !errors.Is(err, zk.ErrNoNode) {
			t.Errorf("WhoBlocks of an unknown znode: got %v, want %v", err, zk.ErrNoNode)
		}
		ok(t, a.Unlock(t.Context()))
		waiting(t, c)
		ok(t, rb.Unlock(t.Context()))
		ok(t, arrived(t, c).Unlock(t.Context()))
		ok(t, arrived(t, d).Unlock(t.Context()))
	})
}

// No contender gets between a writer and the reader that it becomes. After the downgrade, other
// readers get the lock, both with RLock and with TryRLock. Other writers do not.
//
// Covers L3.
func TestDowngrade(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		rw := func() *lock.RWMutex { return lock.NewRWMutex(w.Client().Session, "/rw", lock.Options{}) }
		g := recipetest.Must(rw().Lock(t.Context()))
		if _, err := rw().TryRLock(t.Context()); !errors.Is(err, lock.ErrLocked) {
			t.Errorf("TryRLock while a writer holds: got %v, want %v", err, lock.ErrLocked)
		}
		ok(t, g.Downgrade(t.Context()))
		early := recipetest.Must(rw().TryRLock(t.Context()))
		late := recipetest.Must(rw().RLock(t.Context()))
		behind := rw()
		writer := started(func() (*lock.WriteGrant, error) { return behind.Lock(t.Context()) })
		if _, err := g.Txn(t.Context(), session.CreateOp{Path: "/x", Mode: session.Persistent}); err != nil {
			t.Errorf("Txn after the downgrade: got %v, want no error", err)
		}
		ok(t, early.Unlock(t.Context()))
		ok(t, late.Unlock(t.Context()))
		waiting(t, writer)
		ok(t, g.Unlock(t.Context()))
		ok(t, arrived(t, writer).Unlock(t.Context()))
		w.NothingLeft()
	})
}

// After a holder vanished, the next contender waits for the delay, whether it joined before or
// after the holder vanished. After a release, no contender waits for the delay.
//
// Covers L8.
func TestDelayAfterAHolderVanished(t *testing.T) {
	const delay = 10 * time.Second
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprint("waiting=", waits), func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				mutex := func() (*recipetest.Client, *lock.Mutex) {
					c := w.Client()
					return c, lock.NewMutex(c.Session, "/lock", lock.Options{Delay: delay})
				}
				take := func() (time.Duration, *lock.Grant) {
					_, m := mutex()
					begun := time.Now()
					g := recipetest.Must(m.Lock(t.Context()))
					return time.Since(begun), g
				}
				took, g := take()
				ok(t, g.Unlock(t.Context()))
				if took2, g := take(); took >= time.Second || took2 >= time.Second {
					t.Errorf("free lock: acquired after %v and %v, want less than 1s", took, took2)
				} else {
					ok(t, g.Unlock(t.Context()))
				}
				c, m := mutex()
				recipetest.Must(m.Lock(t.Context()))
				_, m2 := mutex()
				var next <-chan result[*lock.Grant]
				if waits {
					next = started(func() (*lock.Grant, error) { return m2.Lock(t.Context()) })
				}
				begun := time.Now()
				c.Lose()
				if !waits {
					synctest.Wait()
					next = started(func() (*lock.Grant, error) { return m2.Lock(t.Context()) })
				}
				ok(t, (<-next).must(t).Unlock(t.Context()))
				if took := time.Since(begun); took < delay || took > delay+time.Second {
					t.Errorf("granted %v after the holder vanished, want %v to %v", took, delay, delay+time.Second)
				}
				if took, g := take(); took >= time.Second {
					t.Errorf("free lock: acquired after %v, want less than 1s", took)
				} else {
					ok(t, g.Unlock(t.Context()))
				}
			})
		})
	}
}

// A writer that waits for another writer still waits after the other writer is downgraded.
func TestWriterWaitsForADowngradedOne(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		rw := func() *lock.RWMutex { return lock.NewRWMutex(w.Client().Session, "/rw", lock.Options{}) }
		g, next, late := recipetest.Must(rw().Lock(t.Context())), rw(), rw()
		writer := started(func() (*lock.WriteGrant, error) { return next.Lock(t.Context()) })
		ok(t, g.Downgrade(t.Context()))
		waiting(t, writer)
		reader := started(func() (*lock.Grant, error) { return late.RLock(t.Context()) })
		waiting(t, reader) // it is behind the waiting writer
		ok(t, g.Unlock(t.Context()))
		waiting(t, reader)
		ok(t, arrived(t, writer).Unlock(t.Context()))
		ok(t, arrived(t, reader).Unlock(t.Context()))
	})
}

// Lock fails if another client deletes the contender's znode before the contender is granted the
// lock. The lock of go-zookeeper never checks whether its own znode exists, so its Lock can return
// without holding the lock.
func TestOwnNodeIsVerified(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		ok(t, recipetest.Must(mutexAt("/lock")(c).Lock(t.Context())).Unlock(t.Context()))
		synctest.Wait()
		// Delete the znode after its creation and before the list request.
		c.Before("getChildren2", func() {
			for _, node := range w.Ephemerals("/lock") {
				ok(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
			}
		})
		if _, err := mutexAt("/lock")(c).Lock(t.Context()); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Lock: got error %v, want %v", err, session.ErrRevoked)
		}
		w.NothingLeft()
	})
}

// In this test Unlock is called a second time, while the deletion that the first call began is
// still in progress. The second call must not delete the znode that the next holder creates at the
// same path.
//
// Covers L1, L7.
func TestUnlockingTwiceLeavesTheNextHoldersNode(t *testing.T) {
	for range 10 { // repeated, because requests made at the same time are sent in a random order
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			ctx := t.Context()
			a, b := w.Client(), w.Client()
			held := recipetest.Must(lock.NewExclusive(a.Session, "/x", lock.Options{}).Lock(ctx))
			next := started(func() (*lock.Grant, error) { return lock.NewExclusive(b.Session, "/x", lock.Options{}).Lock(ctx) })
			waiting(t, next)
			w.Inject(zktest.Rule{Session: a.ID(), Fate: zktest.CloseBeforeRequest})
			// If the second Unlock sent a delete too, the server would execute it after the next
			// holder has created its znode.
			w.Ensemble.Inject(zktest.Rule{Session: a.ID(), Op: "delete", Skip: 1, Fate: zktest.DelayRequest, Delay: time.Second})
			hurried, cancel := context.WithCancel(ctx)
			cancel()
			held.Unlock(hurried)
			held.Unlock(ctx)
			g := (<-next).must(t)
			time.Sleep(2 * time.Second)
			if err := context.Cause(g.Context()); err != nil {
				t.Errorf("next holder: context ended with %v, want it alive", err)
			}
			g.Unlock(ctx)
		})
	}
}

// After a release, the caller may lock again, even with a context that outlives the grant's
// context.
func TestNoDeadlockOnWhatWasReleased(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		m := mutexAt("/lock")(w.Client())
		g := recipetest.Must(m.Lock(t.Context()))
		ctx := context.WithoutCancel(g.Context())
		if _, err := m.Lock(ctx); !errors.Is(err, lock.ErrDeadlock) {
			t.Errorf("Lock while held: got %v, want %v", err, lock.ErrDeadlock)
		}
		ok(t, g.Unlock(t.Context()))
		g, err := m.Lock(ctx)
		ok(t, err)
		ok(t, g.Unlock(t.Context()))
	})
}

// A Try call waits for no contender, but it waits for the delay if a holder vanished.
//
// Covers L8.
func TestTryLockKeepsTheDelay(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		const delay = 10 * time.Second
		mutex := func() (*recipetest.Client, *lock.Mutex) {
			c := w.Client()
			return c, lock.NewMutex(c.Session, "/lock", lock.Options{Delay: delay})
		}
		c, m := mutex()
		recipetest.Must(m.Lock(t.Context()))
		c.Lose()
		synctest.Wait()
		begun := time.Now()
		_, m = mutex()
		g, err := m.TryLock(t.Context())
		ok(t, err)
		if took := time.Since(begun); took < delay {
			t.Errorf("TryLock: granted after %v, want at least %v", took, delay)
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// In this test the reply to a create is lost, and the directory cannot be listed for some time. So
// the call fails, and the session finds and deletes the znode later.
//
// Covers L4.
func TestNodeWhoseLookUpFailedIsDeleted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client()
		recipetest.Must(c.CreateACL(ctx, "/lock", nil, session.Persistent, zk.WorldACL(zk.PermAll&^zk.PermRead)))
		w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.CloseBeforeReply})
		_, err := lock.NewMutex(c.Session, "/lock", lock.Options{}).Lock(ctx)
		if err == nil {
			t.Error("Lock: got no error, want one")
		}
		ok(t, c.SetACL(ctx, "/lock", zk.WorldACL(zk.PermAll), session.AnyVersion))
		w.NothingLeft()
	})
}

// In this test the reply to the create of an Exclusive is lost, and the znode cannot be read for
// some time. So the call fails, and the session deletes the znode later.
//
// Covers L4.
func TestNodeOfAnExclusiveWhoseLookUpFailedIsDeleted(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client(func(o *session.Options) { o.ACL = zk.WorldACL(zk.PermAll &^ zk.PermRead) })
		w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Fate: zktest.CloseBeforeReply})
		if _, err := lock.NewExclusive(c.Session, "/x", lock.Options{}).Lock(ctx); err == nil {
			t.Error("Lock: got no error, want one")
		}
		synctest.Wait() // until the session has searched for the znode again
		ok(t, c.SetACL(ctx, "/x", zk.WorldACL(zk.PermAll), session.AnyVersion))
		w.NothingLeft()
	})
}
