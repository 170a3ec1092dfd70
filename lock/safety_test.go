package lock_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A writer that does not wait passes nobody, also not a writer that became a reader.
//
// Covers L1.
func TestTryingWriterIsRefusedByADowngradedOne(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		rw := func() *lock.RWMutex { return lock.NewRWMutex(w.Client().Session, "/rw", lock.Options{}) }
		g, writer, reader := recipetest.Must(rw().Lock(t.Context())), rw(), rw()
		ok(t, g.Downgrade(t.Context()))
		if _, err := writer.TryLock(t.Context()); !errors.Is(err, lock.ErrLocked) {
			t.Fatalf("a writer beside a reader: %v", err)
		}
		ok(t, recipetest.Must(reader.TryRLock(t.Context())).Unlock(t.Context()))
		ok(t, g.Unlock(t.Context()))
		ok(t, recipetest.Must(writer.TryLock(t.Context())).Unlock(t.Context()))
	})
}

// The capacity is lowered, or its node deleted and made again with another one, between
// the look of an Acquire and its transaction.
//
// Covers L1.
func TestCapacityChangesUnderAnAcquire(t *testing.T) {
	for name, change := range map[string]func(ctx context.Context, w *recipetest.World, s *lock.Semaphore) error{
		"lowered": func(ctx context.Context, w *recipetest.World, s *lock.Semaphore) error { return s.SetCapacity(ctx, 2) },
		"deleted": func(ctx context.Context, w *recipetest.World, s *lock.Semaphore) error {
			if err := w.Admin().Delete(ctx, "/sem/capacity", session.AnyVersion); err != nil {
				return err
			}
			return s.SetCapacity(ctx, 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				ctx := t.Context()
				c := w.Client()
				ok(t, recipetest.Must(semaphore(c, 3).Acquire(ctx, 1)).Unlock(ctx)) // a handle that has been used
				if name == "deleted" {                                              // so that the version is another one
					ok(t, semaphore(w.Admin(), 3).SetCapacity(ctx, 3))
				}
				held := recipetest.Must(semaphore(w.Client(), 3).Acquire(ctx, 1))
				c.Before("multi", func() { ok(t, change(ctx, w, semaphore(w.Admin(), 3))) })
				if _, err := semaphore(c, 3).TryAcquire(ctx, 2); !errors.Is(err, lock.ErrLocked) {
					t.Fatalf("three permits of two are out: %v", err)
				}
				ok(t, held.Unlock(ctx))
				ok(t, recipetest.Must(semaphore(c, 3).Acquire(ctx, 2)).Unlock(ctx))
			})
		})
	}
}

// besideTheLeader returns a client of a follower that can move to the leader, and their
// indices.
func besideTheLeader(w *recipetest.World) (c *recipetest.Client, at, leader int) {
	leader = w.Leader()
	at = (leader + 1) % 3
	for c = nil; c == nil || c.Server() != w.Servers()[at]; {
		c = w.Client(func(o *session.Options) { o.Servers = []string{w.Servers()[at], w.Servers()[leader]} })
	}
	return c, at, leader
}

// behindAfterALostReply loses the reply to the next request of the operation, and lets
// the client go on at a server that has not applied it yet.
func behindAfterALostReply(w *recipetest.World, c *recipetest.Client, at, behind int, op string) {
	time.Sleep(time.Second) // all servers have applied what was before
	w.Inject(zktest.Rule{Session: c.ID(), Server: at + 1, Op: op, Path: "/*/*", Fate: zktest.CloseBeforeReply})
	w.Lag(behind, 300*time.Millisecond)
}

// The reply to a transaction is lost, and the next server has not applied it yet: the
// transaction is not applied a second time, and the grant goes on.
//
// Covers L6.
func TestTxnAfterALostReplyAtAServerThatIsBehind(t *testing.T) {
	for name, take := range grants {
		t.Run(name, func(t *testing.T) {
			for i := range 10 { // as a heartbeat may be sent first, behind which reads are fresh
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					c, at, behind := w.OnFollower()
					if i%2 == 0 { // the leader answers a sync without waiting
						c, at, behind = besideTheLeader(w)
					}
					recipetest.Must(w.Admin().Create(t.Context(), "/log", nil, session.Persistent))
					g := recipetest.Must(take(t.Context(), c))
					recipetest.Must(g.Txn(t.Context(), entry())) // a grant that has been used
					time.Sleep(time.Second)
					lost := w.Inject(zktest.Rule{Session: c.ID(), Server: at + 1, Op: "multi", Path: nodes(g)[0], Fate: zktest.CloseBeforeReply})
					w.Lag(behind, 300*time.Millisecond)
					_, err := g.Txn(t.Context(), entry())
					ok(t, err)
					ok(t, context.Cause(g.Context()))
					if lost.Fired() != 1 || c.Server() != w.Servers()[behind] {
						t.Errorf("lost %d replies, moved to %s", lost.Fired(), c.Server())
					}
					w.Lag(behind, 0)
					time.Sleep(time.Second)
					if n := len(w.Nodes("/log")); n != 2 {
						t.Errorf("%d entries, want 2", n)
					}
				})
			}
		})
	}
}

// The reply to the create of an Exclusive is lost, and the next server does not show the
// node yet: it is the caller's all the same.
//
// Covers L1, L4.
func TestExclusiveAfterALostReplyAtAServerThatIsBehind(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c, at, behind := w.OnFollower()
		e := lock.NewExclusive(c.Session, "/d/node", lock.Options{})
		recipetest.Must(w.Admin().Create(t.Context(), "/d", nil, session.Persistent))
		ok(t, recipetest.Must(e.Lock(t.Context())).Unlock(t.Context()))
		behindAfterALostReply(w, c, at, behind, "create")
		g := recipetest.Must(e.TryLock(t.Context()))
		ok(t, g.Unlock(t.Context()))
		w.NothingLeft()
	})
}

// The same of the transaction in which permits are taken.
//
// Covers L1, L4.
func TestPermitsAfterALostReplyAtAServerThatIsBehind(t *testing.T) {
	for range 10 {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c, at, behind := w.OnFollower()
			s := semaphore(c, 2)
			ok(t, recipetest.Must(s.Acquire(t.Context(), 1)).Unlock(t.Context()))
			time.Sleep(time.Second)
			w.Inject(zktest.Rule{Session: c.ID(), Server: at + 1, Op: "multi", Path: "/sem/locks/*", Fate: zktest.CloseBeforeReply})
			w.Lag(behind, 300*time.Millisecond)
			g := recipetest.Must(s.Acquire(t.Context(), 2))
			time.Sleep(time.Second)
			if n := len(w.Nodes("/sem/leases")); n != 1 {
				t.Errorf("%d leases, want 1", n)
			}
			ok(t, g.Unlock(t.Context()))
			w.NothingLeft()
		})
	}
}

// Covers L6, L7. No heartbeat and no watch tells of it: the transaction does.
func TestTxnThatFindsTheNodeGoneEndsTheGrant(t *testing.T) {
	for name, take := range grants {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				g := recipetest.Must(take(t.Context(), c))
				own := nodes(g)
				// On the way of the transaction, so that nothing else can have told of it.
				c.Before("multi", func() { ok(t, w.Admin().Delete(t.Context(), own[len(own)-1], session.AnyVersion)) })
				if _, err := g.Txn(t.Context()); !errors.Is(err, session.ErrRevoked) || session.OutcomeOf(err) != session.Failed {
					t.Errorf("transaction without the node: %v", err)
				}
				if cause := context.Cause(g.Context()); !errors.Is(cause, session.ErrRevoked) {
					t.Errorf("the grant goes on: %v", cause)
				}
			})
		})
	}
}

// The context has ended when the request that gives the lock up leaves.
//
// Covers L1.
func TestContextEndsBeforeTheLockIsGivenUp(t *testing.T) {
	for name, take := range grants {
		for _, contended := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					c, other := w.Client(), w.Client()
					if contended { // else a grant of a line leaves by another request
						first := recipetest.Must(take(t.Context(), other))
						time.AfterFunc(time.Second, func() { unlock(t, first) })
					}
					g := recipetest.Must(take(t.Context(), c))
					var given, late atomic.Int32
					c.BeforeEach(func() {
						given.Add(1)
						if g.Context().Err() == nil {
							late.Add(1)
						}
					})
					unlock(t, g)
					if given.Load() == 0 || late.Load() > 0 {
						t.Errorf("%d of %d requests left before the context had ended", late.Load(), given.Load())
					}
				})
			})
		}
	}
}

// nodes are the paths of the grant's own nodes.
func nodes(g txn) (paths []string) {
	if multi, ok := g.(*lock.MultiGrant); ok {
		for _, g := range multi.Grants() {
			paths = append(paths, g.Path())
		}
		return paths
	}
	return []string{g.(interface{ Path() string }).Path()}
}

func unlock(t *testing.T, g txn) {
	t.Helper()
	ok(t, g.(interface {
		Unlock(context.Context) error
	}).Unlock(context.Background()))
}

// A contender that goes before its turn, whichever way, lets nobody pass: the holder is
// still there.
//
// Covers L1, L3.
func TestDepartureOfAWaiterGrantsNobody(t *testing.T) {
	type join = func(ctx context.Context, c *recipetest.Client) (txn, error)
	write := grants["writer"]
	read := grants["reader"]
	for name, kinds := range map[string][3]join{ // the holder, who waits for it, who waits for that one
		"Mutex":                  {grants["Mutex"], grants["Mutex"], grants["Mutex"]},
		"writers":                {write, write, write},
		"reader behind a writer": {write, write, read},
		"writer behind a reader": {write, read, write},
		"readers hold":           {read, write, write},
		"Semaphore":              {grants["Semaphore"], grants["Semaphore"], grants["Semaphore"]},
	} {
		for how, goes := range map[string]func(c *recipetest.Client, cancel func()){
			"expires":  func(c *recipetest.Client, _ func()) { c.Lose() },
			"gives up": func(_ *recipetest.Client, cancel func()) { cancel() },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					held := recipetest.Must(kinds[0](t.Context(), w.Client()))
					middle, last := w.Client(), w.Client()
					second := started(func() (txn, error) { return kinds[1](ctx, middle) })
					waiting(t, second)
					third := started(func() (txn, error) { return kinds[2](t.Context(), last) })
					waiting(t, third)
					goes(middle, cancel)
					time.Sleep(recipetest.Timeout)
					waiting(t, third)
					unlock(t, held)
					unlock(t, arrived(t, third))
				})
			})
		}
	}
}
