package lock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// txn is the interface that all kinds of grants implement.
type txn interface {
	Txn(context.Context, ...session.Op) ([]session.OpResult, error)
	Context() context.Context
}

// The map `grants` has, for each kind of grant, a function that acquires one.
var grants = map[string]func(ctx context.Context, c *recipetest.Client) (txn, error){
	"Mutex": func(ctx context.Context, c *recipetest.Client) (txn, error) { return mutexAt("/lock")(c).Lock(ctx) },
	"writer": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		return lock.NewRWMutex(c.Session, "/lock", lock.Options{}).Lock(ctx)
	},
	"reader": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		return lock.NewRWMutex(c.Session, "/lock", lock.Options{}).RLock(ctx)
	},
	"downgraded": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		g, err := lock.NewRWMutex(c.Session, "/lock", lock.Options{}).Lock(ctx)
		if err != nil {
			return nil, err
		}
		return g, g.Downgrade(ctx)
	},
	"Semaphore": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		return lock.NewSemaphore(c.Session, "/sem", 3, lock.Options{}).Acquire(ctx, 2)
	},
	"Multi": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		return lock.NewMulti(c.Session, []string{"/a", "/b"}, lock.Options{}).Lock(ctx)
	},
	"Exclusive": func(ctx context.Context, c *recipetest.Client) (txn, error) {
		return lock.NewExclusive(c.Session, "/node", lock.Options{}).Lock(ctx)
	},
}

func eachGrant(t *testing.T, f func(t *testing.T, w *recipetest.World, c *recipetest.Client, g txn)) {
	for name, take := range grants {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				g := recipetest.Must(take(t.Context(), c))
				synctest.Wait()
				c.Requests()
				_, err := w.Admin().Create(t.Context(), "/log", nil, session.Persistent)
				ok(t, err)
				f(t, w, c, g)
			})
		})
	}
}

// entry returns an op that creates a sequential znode below /log.
func entry() session.Op {
	return session.CreateOp{Path: "/log/e-", Mode: session.PersistentSequential}
}

// Txn makes one request, and returns the results or the error of the caller's ops.
//
// Covers L6.
func TestTxnIsOneRequest(t *testing.T) {
	eachGrant(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client, g txn) {
		results, err := g.Txn(t.Context(), entry(), session.SetOp{Path: "/log", Version: 0})
		ok(t, err)
		if len(results) != 2 {
			t.Fatalf("got %d results, want 2", len(results))
		}
		if results[0].Path != "/log/e-0000000000" || results[1].Stat == nil {
			t.Errorf("got path %q, stat %v; want /log/e-0000000000 and a stat", results[0].Path, results[1].Stat)
		}
		c.Expect(t, "transaction", "multi")
		_, err = g.Txn(t.Context(), entry(), session.SetOp{Path: "/log", Version: 7})
		part := (*session.MultiError)(nil)
		if !errors.As(err, &part) || part.Index != 1 || !errors.Is(err, zk.ErrBadVersion) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Txn with a failing op: got %v, outcome %v, want a MultiError of op 1", err, session.OutcomeOf(err))
		}
		_, err = g.Txn(t.Context(), entry())
		ok(t, err)
		if n := len(w.Nodes("/log")); n != 2 {
			t.Errorf("entries: got %d, want 2", n)
		}
	})
}

// Each transaction that Txn reports as applied was applied once, even if messages are lost. In each
// run of this test, two messages are lost. The first one is the request or the reply of a
// transaction. The second one is the reply to a later request of the client. This later request may
// be the one by which Txn finds out the outcome of the transaction.
//
// Covers L6.
func TestTxnAfterALostReply(t *testing.T) {
	for _, fate := range []zktest.Fate{zktest.CloseBeforeReply, zktest.CloseBeforeRequest} {
		for second := range 3 {
			eachGrant(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client, g txn) {
				first := w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: fate})
				w.Inject(zktest.Rule{Session: c.ID(), Skip: second, Fate: zktest.CloseBeforeReply})
				const entries = 4
				for range entries {
					_, err := g.Txn(t.Context(), entry())
					ok(t, err)
				}
				if n := len(w.Nodes("/log")); n != entries {
					t.Errorf("fate %d, then the reply to request %d lost: entries: got %d, want %d; first fault fired %d times",
						fate, second+1, n, entries, first.Fired())
				}
			})
		}
	}
}

// In this test the caller cancels a transaction whose outcome is unknown. The next transaction is
// not mistaken for the cancelled one, and does not fail because of it.
//
// Covers L6.
func TestTxnAfterOneInDoubt(t *testing.T) {
	for _, lost := range []zktest.Fate{zktest.DropRequest, zktest.DropReply} {
		eachGrant(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client, g txn) {
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: lost})
			ctx, cancel := context.WithCancel(t.Context())
			done := started(func() ([]session.OpResult, error) { return g.Txn(ctx, entry()) })
			cancel()
			if r := <-done; session.OutcomeOf(r.err) != session.Indeterminate {
				t.Fatalf("fate %d: cancelled Txn: got %v, outcome %v, want %v",
					lost, r.err, session.OutcomeOf(r.err), session.Indeterminate)
			}
			before := len(w.Nodes("/log"))
			// The first request of the next transaction is lost, so that request must not count as
			// applied.
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.CloseBeforeRequest})
			_, err := g.Txn(t.Context(), entry())
			ok(t, err)
			if n := len(w.Nodes("/log")); n != before+1 {
				t.Errorf("fate %d: entries: got %d, want %d", lost, n, before+1)
			}
		})
	}
}

// If the znode of a grant is gone, no transaction under the grant is applied, and the grant ends.
//
// Covers L6, L7.
func TestTxnWithoutTheLock(t *testing.T) {
	eachGrant(t, func(t *testing.T, w *recipetest.World, c *recipetest.Client, g txn) {
		for _, node := range w.Ephemerals("/") {
			ok(t, w.Admin().Delete(t.Context(), node, session.AnyVersion))
		}
		_, err := g.Txn(t.Context(), entry())
		if session.OutcomeOf(err) != session.Failed || !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Txn: got %v, outcome %v, want %v", err, session.OutcomeOf(err), session.ErrRevoked)
		}
		if n := len(w.Nodes("/log")); n != 0 {
			t.Errorf("entries: got %d, want 0", n)
		}
		<-g.Context().Done()
	})
}

// In this test the caller cancels a downgrade whose outcome is unknown. The next call, which is Txn
// or Downgrade, finds out whether the downgrade was applied. Otherwise a holder that is already a
// reader could still act like a writer.
//
// Covers L1, L6.
func TestDowngradeAfterOneInDoubt(t *testing.T) {
	for _, lost := range []zktest.Fate{zktest.DropRequest, zktest.DropReply} {
		for _, txnFirst := range []bool{false, true} {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				m := lock.NewRWMutex(c.Session, "/lock", lock.Options{})
				g := recipetest.Must(m.Lock(t.Context()))
				w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: lost})
				ctx, cancel := context.WithCancel(t.Context())
				done := started(func() (struct{}, error) { return struct{}{}, g.Downgrade(ctx) })
				synctest.Wait()
				cancel()
				if r := <-done; session.OutcomeOf(r.err) != session.Indeterminate {
					t.Fatalf("fate %d: cancelled Downgrade: got %v, outcome %v, want %v",
						lost, r.err, session.OutcomeOf(r.err), session.Indeterminate)
				}
				if txnFirst {
					_, err := g.Txn(t.Context())
					ok(t, err)
				}
				ok(t, g.Downgrade(t.Context()))
				ok(t, g.Downgrade(t.Context()))
				r := recipetest.Must(lock.NewRWMutex(w.Client().Session, "/lock", lock.Options{}).TryRLock(t.Context()))
				_, err := g.Txn(t.Context())
				ok(t, err)
				ok(t, r.Unlock(t.Context()))
				ok(t, g.Unlock(t.Context()))
				w.NothingLeft()
			})
		}
	}
}

// A standing context calls the function in its field `still` when its method Err is called for the
// first time. So a test can delay a call at the point where the call checks its context.
type standing struct {
	context.Context
	once  sync.Once
	still func()
}

func (s *standing) Err() error {
	s.once.Do(s.still)
	return s.Context.Err()
}

// In this test, a transaction under the lock is delayed before it is sent, and the lock is released
// meanwhile. If another client is granted the lock before the transaction is sent, the transaction
// must not be applied.
//
// Covers L6.
func TestTransactionOfAnExclusiveDoesNotOutliveIt(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		a, b := w.Client(), w.Client()
		recipetest.Must(a.Create(ctx, "/data", nil, session.Persistent))
		held := recipetest.Must(lock.NewExclusive(a.Session, "/x", lock.Options{}).Lock(ctx))
		next := started(func() (*lock.Grant, error) { return lock.NewExclusive(b.Session, "/x", lock.Options{}).Lock(ctx) })
		released := make(chan error, 1)
		var g *lock.Grant
		slow := &standing{Context: ctx, still: func() {
			go func() { released <- held.Unlock(ctx) }()
			time.Sleep(100 * time.Millisecond)
			select {
			case r := <-next:
				g = r.must(t)
			default:
			}
		}}
		_, err := held.Txn(slow, session.SetOp{Path: "/data", Data: []byte("a"), Version: session.AnyVersion})
		if g != nil && err == nil {
			t.Error("Txn: applied while another client held the lock")
		}
		ok(t, <-released)
		if g == nil {
			g = (<-next).must(t)
		}
		if _, err := g.Txn(ctx, session.SetOp{Path: "/data", Data: []byte("b"), Version: session.AnyVersion}); err != nil {
			t.Error(err)
		}
		ok(t, g.Unlock(ctx))
	})
}

// Txn adds ops that guard the transaction. If a server refuses one of these ops, the error has no
// index. If the error had an index, the caller would mistake it for the index of one of the
// caller's own ops.
func TestErrorOfATransactionDoesNotNumberItsGuard(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		ctx := t.Context()
		c := w.Client()
		recipetest.Must(c.CreateACL(ctx, "/lock", nil, session.Persistent, zk.WorldACL(zk.PermAll&^zk.PermWrite)))
		recipetest.Must(c.CreateACL(ctx, "/other", nil, session.Persistent, zk.WorldACL(zk.PermAll)))
		g := recipetest.Must(lock.NewMutex(c.Session, "/lock", lock.Options{}).Lock(ctx))
		op := session.CheckOp{Path: "/other", Version: session.AnyVersion}
		_, err := g.Txn(ctx, op, op)
		if !errors.Is(err, zk.ErrNoAuth) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Txn: got %v, outcome %v, want %v", err, session.OutcomeOf(err), zk.ErrNoAuth)
		}
		if part := (*session.MultiError)(nil); errors.As(err, &part) {
			t.Errorf("Txn: got an error of op %d, want one of no op", part.Index)
		}
		ok(t, g.Unlock(ctx))
	})
}
