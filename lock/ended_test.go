package lock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// makers returns calls that create a znode, by name. The parents of the znode's path do not exist
// before the call.
func makers() map[string]func(ctx context.Context, s *session.Session) error {
	const path = "/a/b/l"
	return map[string]func(ctx context.Context, s *session.Session) error{
		"Mutex.Lock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewMutex(s, path, lock.Options{}).Lock(ctx)
			return unlocked(g, err)
		},
		"Mutex.TryLock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewMutex(s, path, lock.Options{}).TryLock(ctx)
			return unlocked(g, err)
		},
		"RWMutex.Lock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewRWMutex(s, path, lock.Options{}).Lock(ctx)
			if err != nil {
				return err
			}
			return g.Unlock(context.Background())
		},
		"RWMutex.RLock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewRWMutex(s, path, lock.Options{}).RLock(ctx)
			return unlocked(g, err)
		},
		"Multi.Lock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewMulti(s, []string{path, path + "2"}, lock.Options{}).Lock(ctx)
			if err != nil {
				return err
			}
			return g.Unlock(context.Background())
		},
		"Exclusive.Lock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewExclusive(s, path, lock.Options{}).Lock(ctx)
			return unlocked(g, err)
		},
		"Exclusive.TryLock": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewExclusive(s, path, lock.Options{}).TryLock(ctx)
			return unlocked(g, err)
		},
		"Semaphore.Acquire": func(ctx context.Context, s *session.Session) error {
			g, err := lock.NewSemaphore(s, path, 2, lock.Options{}).Acquire(ctx, 1)
			return unlocked(g, err)
		},
	}
}

func unlocked(g *lock.Grant, err error) error {
	if err != nil {
		return err
	}
	return g.Unlock(context.Background())
}

// A call whose context has already ended makes no request. Regression: such a call created a
// contender and deleted it again. Meanwhile another client got ErrLocked, although no client held
// the lock. The bug etcd#10111 is similar.
//
// Covers L4.
func TestCallWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.EndedContextSendsNothing(t, makers())
}

// A call that is cancelled at any of its requests or replies leaves no znode and no directory.
// Regression: the directory remained if the call was cancelled after it had created the directory
// and before it created the znode. The reason is that servers before 3.10 keep a container that
// never had a child. See Netflix/curator#307, curator#1258 and ZOOKEEPER-3546.
//
// Covers L4.
func TestCancelledCallLeavesNoDirectory(t *testing.T) {
	for name, call := range makers() {
		if name == "Semaphore.Acquire" { // the znode with the capacity is meant to remain
			continue
		}
		t.Run(name, func(t *testing.T) {
			recipetest.CancelledAtEveryMoment(t, func(ctx context.Context, t *testing.T, w *recipetest.World, c *recipetest.Client) {
				_ = call(ctx, c.Session)
				nothingAtAll(t, w)
			})
		})
	}
}

// A call leaves no directory if the server creates the directory but refuses to create the znode.
//
// Covers L4.
func TestRefusedCallLeavesNoDirectory(t *testing.T) {
	for name, node := range map[string]string{"Mutex.Lock": "/a/b/l/*", "Exclusive.Lock": "/a/b/l"} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c := w.Client()
			c.Refuse(recipetest.Refusal{Op: "create", Path: node, Skip: 1, Code: wire.QuotaExceeded})
			if err := makers()[name](t.Context(), c.Session); !errors.Is(err, session.ErrQuota) {
				t.Errorf("%s: got %v, want %v", name, err, session.ErrQuota)
			}
			nothingAtAll(t, w)
		})
	}
}

// nothingAtAll fails the test if a znode remains after the servers have deleted the empty
// containers.
func nothingAtAll(t *testing.T, w *recipetest.World) {
	t.Helper()
	time.Sleep(5 * time.Minute) // the servers delete one level a minute
	synctest.Wait()
	if left := w.Nodes("/a"); len(left) > 0 {
		t.Errorf("znodes left below /a: got %v, want none", left)
	}
	if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
		t.Error("/a exists, want it deleted")
	}
}

// In this test the request that creates the contender is lost, so no answer to the request arrives.
// Nevertheless, the directory is deleted when the session closes.
//
// Covers L4.
func TestUnansweredCreateLeavesNoDirectory(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		lost := w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Path: "/a/*", Skip: 1, Fate: zktest.DropRequest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := lock.NewMutex(c.Session, "/a", lock.Options{}).Lock(ctx); err == nil || lost.Fired() != 1 {
			t.Fatalf("Lock: got %v, want an error; lost %d requests, want 1", err, lost.Fired())
		}
		ok(t, c.Close())
		nothingAtAll(t, w)
	})
}
