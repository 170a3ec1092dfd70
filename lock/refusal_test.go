package lock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// If a server refuses a create, for example because a hard quota is used up (kazoo#721), the call
// returns the server's error. Regression: Exclusive and Semaphore repeated their requests without a
// pause, and the call did not return.
//
// Covers L4.
func TestRefusedCreateEndsTheCall(t *testing.T) {
	for name, test := range map[string]struct {
		op, path string
		call     recipetest.Do
	}{
		"Exclusive.TryLock": {"create", "/l", func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			_, err := lock.NewExclusive(s, "/l", lock.Options{}).TryLock(ctx)
			return nil, err
		}},
		"Exclusive.Lock": {"create", "/l", func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			_, err := lock.NewExclusive(s, "/l", lock.Options{}).Lock(ctx)
			return nil, err
		}},
		"Semaphore.Acquire": {"create", "/l/capacity", func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			_, err := lock.NewSemaphore(s, "/l", 2, lock.Options{}).Acquire(ctx, 1)
			return nil, err
		}},
		"Mutex.Lock": {"create", "/l/*", func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			_, err := lock.NewMutex(s, "/l", lock.Options{}).Lock(ctx)
			return nil, err
		}},
	} {
		for code, want := range map[wire.Code]error{
			wire.QuotaExceeded: session.ErrQuota, wire.ThrottledOp: session.ErrThrottled, wire.MarshallingError: session.ErrUnknown,
		} {
			t.Run(name+" "+code.String(), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					c := w.Client()
					c.Refuse(recipetest.Refusal{Op: test.op, Path: test.path, Code: code})
					w.Within(time.Second, "the call", func(ctx context.Context) error {
						if _, err := test.call(ctx, c.Session); !errors.Is(err, want) {
							t.Errorf("%s: got %v, want %v", name, err, want)
						}
						return nil
					})
					w.NothingLeft()
					if n := c.Count(); n > 15 {
						t.Errorf("requests: got %d, want at most 15", n)
					}
				})
			})
		}
	}
}

// A lease proves nothing unless the servers run ZooKeeper. So each call fails on servers of any
// other kind, and leaves no znode. In this test, as in ClickHouse Keeper, the servers give the
// sessions no password. From this, the session recognizes that the servers do not run ZooKeeper.
//
// Covers L4.
func TestNoLockOnAServerThatIsNotZooKeeper(t *testing.T) {
	for name, acquire := range map[string]func(ctx context.Context, s *session.Session) error{
		"Mutex": func(ctx context.Context, s *session.Session) error {
			_, err := lock.NewMutex(s, "/l", lock.Options{}).Lock(ctx)
			return err
		},
		"RWMutex": func(ctx context.Context, s *session.Session) error {
			_, err := lock.NewRWMutex(s, "/l", lock.Options{}).RLock(ctx)
			return err
		},
		"Semaphore": func(ctx context.Context, s *session.Session) error {
			_, err := lock.NewSemaphore(s, "/l", 2, lock.Options{}).Acquire(ctx, 1)
			return err
		},
		"Exclusive": func(ctx context.Context, s *session.Session) error {
			_, err := lock.NewExclusive(s, "/l", lock.Options{}).Lock(ctx)
			return err
		},
	} {
		recipetest.RunOn(t, zktest.Options{NoResume: true}, func(t *testing.T, w *recipetest.World) {
			c := w.Client()
			w.Within(time.Minute, name, func(ctx context.Context) error {
				if err := acquire(ctx, c.Session); !errors.Is(err, session.ErrNotZooKeeper) {
					t.Errorf("%s: got %v, want %v", name, err, session.ErrNotZooKeeper)
				}
				return nil
			})
			synctest.Wait()
			w.NothingLeft()
			if n := c.Count(); n > 15 {
				t.Errorf("%s: got %d requests, want at most 15", name, n)
			}
			unsafe := w.Client(func(o *session.Options) { o.UnsafeAnyServer = true })
			w.Within(time.Minute, name, func(ctx context.Context) error { return acquire(ctx, unsafe.Session) })
		})
	}
}

// A TryLock that fails leaves nothing running. In this test TryLock fails because the lock's znode
// belongs to another user and cannot be read. Bug, as in kazoo#596: each failed call left a
// goroutine that searched for the call's znode until the session ended.
//
// Covers L4.
func TestFailedTryLockLeavesNothingRunning(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		admin := []session.Auth{{Scheme: "digest", Data: []byte("admin:secret")}}
		owner := w.Client(func(o *session.Options) { o.Auth, o.ACL = admin, zk.DigestACL(zk.PermAll, "admin", "secret") })
		recipetest.Must(lock.NewExclusive(owner.Session, "/l", lock.Options{}).Lock(t.Context()))
		c := w.Client()
		for range 100 {
			if _, err := lock.NewExclusive(c.Session, "/l", lock.Options{}).TryLock(t.Context()); !errors.Is(err, zk.ErrNoAuth) {
				t.Fatalf("TryLock: got %v, want %v", err, zk.ErrNoAuth)
			}
		}
		synctest.Wait()
		c.Requests()
		time.Sleep(time.Minute)
		c.Expect(t, "after the calls", "")
	})
}

// A transaction leaves a mark, by which Txn finds out whether the transaction was applied. In this
// test a server answers the transaction, or the read of its mark, with an error that does not show
// the outcome. Txn still finds out the outcome.
//
// Covers L6.
func TestTxnAnsweredByAnUnknownError(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		g := recipetest.Must(lock.NewMutex(c.Session, "/l", lock.Options{}).Lock(t.Context()))
		time.Sleep(recipetest.Timeout / 10)
		// The transaction is not applied. Txn reads the mark and does not find it.
		c.Refuse(recipetest.Refusal{Op: "multi", Path: g.Path(), Count: 1, Code: wire.MarshallingError})
		w.Within(time.Second, "the transaction", func(ctx context.Context) error {
			_, err := g.Txn(ctx, session.CreateOp{Path: "/a"})
			if !errors.Is(err, session.ErrUnknown) || session.OutcomeOf(err) != session.Failed {
				t.Errorf("Txn: got %v, outcome %v, want %v, outcome %v", err, session.OutcomeOf(err), session.ErrUnknown, session.Failed)
			}
			return nil
		})
		// The transaction is applied, and the server refuses to return the mark for some
		// time.
		w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Path: g.Path(), Fate: zktest.CloseBeforeReply})
		busy := c.Refuse(recipetest.Refusal{Op: "getData", Path: "/l", Count: 3, Code: wire.ThrottledOp})
		_, err := g.Txn(t.Context(), session.CreateOp{Path: "/b"})
		ok(t, err)
		if stat := recipetest.Must(c.Exists(t.Context(), "/b")); stat == nil || busy.Fired() != 3 {
			t.Errorf("/b after Txn: got %+v, want a znode; refused %d reads, want 3",
				stat, busy.Fired())
		}
		ok(t, g.Unlock(t.Context()))
	})
}

// The Unlock of an Exclusive reads the znode before it deletes the znode. Unlock deletes the znode
// even if the server refuses this read for a while. Regression: the znode of the released lock
// remained and blocked everybody.
//
// Covers L4.
func TestUnlockWhileTheServerIsBusy(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		g := recipetest.Must(lock.NewExclusive(c.Session, "/l", lock.Options{}).Lock(t.Context()))
		busy := c.Refuse(recipetest.Refusal{Op: "exists", Path: "/l", Count: 3, Code: wire.ThrottledOp})
		ok(t, g.Unlock(t.Context()))
		if stat := recipetest.Must(c.Exists(t.Context(), "/l")); stat != nil || busy.Fired() != 3 {
			t.Errorf("/l after Unlock: got %+v, want no znode; refused %d reads, want 3",
				stat, busy.Fired())
		}
	})
}

// A grant ends when its znode is deleted, even if a busy server at first refused to watch the
// znode. Regression: the session did not watch the znode after such a refusal. With
// UnsafeHoldUntilLost, the grant then never ended, although its znode was deleted.
func TestDeletedNodeAfterABusyServer(t *testing.T) {
	for _, unsafe := range []bool{false, true} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c := w.Client(func(o *session.Options) { o.UnsafeHoldUntilLost = unsafe })
			busy := c.Refuse(recipetest.Refusal{Op: "exists", Path: "/l/*", Count: 3, Code: wire.ThrottledOp})
			g := recipetest.Must(lock.NewMutex(c.Session, "/l", lock.Options{}).Lock(t.Context()))
			time.Sleep(2 * recipetest.Timeout)
			ok(t, w.Admin().Delete(t.Context(), g.Path(), session.AnyVersion))
			synctest.Wait()
			if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrRevoked) || busy.Fired() != 3 {
				t.Errorf("UnsafeHoldUntilLost %v: got %v after %d refusals, want %v after 3", unsafe, cause, busy.Fired(), session.ErrRevoked)
			}
		})
	}
}

// A contender that waits keeps its place even if its server is too busy for some of its reads.
// Regression: the call of this contender failed.
func TestBusyServerEndsNoWait(t *testing.T) {
	release := func(g *lock.Grant, err error) (func(context.Context) error, error) {
		if err != nil {
			return nil, err
		}
		return g.Unlock, nil
	}
	for name, test := range map[string]struct {
		refusals []recipetest.Refusal
		call     recipetest.Do
	}{
		"Mutex": {[]recipetest.Refusal{
			{Op: "getData", Path: "/l/*"},
			{Op: "getChildren2", Path: "/l", Skip: 1}, // the list after another contender has given up
		}, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			return release(lock.NewMutex(s, "/l", lock.Options{}).Lock(ctx))
		}},
		"RWMutex": {[]recipetest.Refusal{
			{Op: "getData", Path: "/l/*"},
			{Op: "getChildren2", Path: "/l/*"},
		}, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			g, err := lock.NewRWMutex(s, "/l", lock.Options{}).Lock(ctx)
			if err != nil {
				return nil, err
			}
			return g.Unlock, nil
		}},
		"Semaphore": {[]recipetest.Refusal{
			{Op: "getData", Path: "/l/capacity", Skip: 1},
			{Op: "getChildren2", Path: "/l/leases", Skip: 1},
		}, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			return release(lock.NewSemaphore(s, "/l", 1, lock.Options{}).Acquire(ctx, 1))
		}},
		"Exclusive": {[]recipetest.Refusal{
			{Op: "getChildren2", Path: "/l"},
		}, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
			return release(lock.NewExclusive(s, "/l", lock.Options{}).Lock(ctx))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				unlock := recipetest.Must(test.call(t.Context(), w.Client().Session))
				// Another contender joins ahead of the contender at the busy server. It gives up
				// while the contender at the busy server waits.
				before, giveUp := context.WithCancel(t.Context())
				other, gaveUp := w.Client(), make(chan error, 1)
				go func() {
					_, err := test.call(before, other.Session)
					gaveUp <- err
				}()
				synctest.Wait()
				busy := w.Client()
				var refusals []*recipetest.Refusal
				for _, r := range test.refusals {
					r.Count, r.Code = 2, wire.ThrottledOp
					refusals = append(refusals, busy.Refuse(r))
				}
				done := make(chan error, 1)
				go func() {
					unlock, err := test.call(t.Context(), busy.Session)
					if err == nil {
						err = unlock(t.Context())
					}
					done <- err
				}()
				time.Sleep(recipetest.Timeout)
				giveUp()
				<-gaveUp
				time.Sleep(recipetest.Timeout)
				ok(t, unlock(t.Context()))
				if err := <-done; err != nil {
					t.Errorf("got %v, want a grant", err)
				}
				for _, r := range refusals {
					if r.Fired() != 2 {
						t.Errorf("got %d refusals of %s, want 2", r.Fired(), r.Op)
					}
				}
				w.NothingLeft()
			})
		})
	}
}
