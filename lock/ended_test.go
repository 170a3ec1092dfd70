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

// makers are the calls that make a node, at a path whose parents are missing.
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

// A call with an ended context once made a contender and deleted it again. Until then another
// client got ErrLocked, although nobody held the lock.
//
// Covers L4.
func TestCallWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.EndedContextSendsNothing(t, makers())
}

// Netflix/curator#307, curator#1258, ZOOKEEPER-3546: a call that was given up between the directory and its node left the directory, a
// container that never had a child, which servers before 3.10 keep.
//
// Covers L4.
func TestCancelledCallLeavesNoDirectory(t *testing.T) {
	for name, call := range makers() {
		if name == "Semaphore.Acquire" { // its capacity stays
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

// The same where the server refuses the node.
//
// Covers L4.
func TestRefusedCallLeavesNoDirectory(t *testing.T) {
	for _, name := range []string{"Mutex.Lock", "Exclusive.Lock"} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c := w.Client()
			c.Refuse(recipetest.Refusal{Op: "create", Path: "/a/b/l", Skip: 1, Code: wire.QuotaExceeded})
			c.Refuse(recipetest.Refusal{Op: "create", Path: "/a/b/l/*", Skip: 1, Code: wire.QuotaExceeded})
			if err := makers()[name](t.Context(), c.Session); !errors.Is(err, session.ErrQuota) {
				t.Errorf("%s: %v", name, err)
			}
			nothingAtAll(t, w)
		})
	}
}

// nothingAtAll fails the test if a node is left when the servers have deleted the
// containers that are empty.
func nothingAtAll(t *testing.T, w *recipetest.World) {
	t.Helper()
	time.Sleep(5 * time.Minute) // one level a minute
	synctest.Wait()
	if left := w.Nodes("/a"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
		t.Error("left behind: /a")
	}
}

// The request that makes the contender can be lost for good, so that its answer never
// comes. The directory is deleted all the same when the session closes.
//
// Covers L4.
func TestUnansweredCreateLeavesNoDirectory(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		lost := w.Inject(zktest.Rule{Session: c.ID(), Op: "create", Path: "/a/*", Skip: 1, Fate: zktest.DropRequest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := lock.NewMutex(c.Session, "/a", lock.Options{}).Lock(ctx); err == nil || lost.Fired() != 1 {
			t.Fatalf("got %v, with %d requests lost", err, lost.Fired())
		}
		ok(t, c.Close())
		nothingAtAll(t, w)
	})
}
