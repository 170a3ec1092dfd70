package lock_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

type undo = func(context.Context) error

func unlocker[G interface{ Unlock(context.Context) error }](g G, err error) (undo, error) {
	return g.Unlock, err
}

type do = recipetest.Do

// The map `calls` has, for each kind of lock, a call that acquires the lock and may wait.
var calls = map[string]do{
	"Mutex": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewMutex(s, "/lock", lock.Options{}).Lock(ctx))
	},
	"Mutex with delay": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewMutex(s, "/lock", lock.Options{Delay: recipetest.Timeout / 4}).Lock(ctx))
	},
	"writer": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewRWMutex(s, "/lock", lock.Options{}).Lock(ctx))
	},
	"reader": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewRWMutex(s, "/lock", lock.Options{}).RLock(ctx))
	},
	"downgraded": func(ctx context.Context, s *session.Session) (undo, error) {
		g, err := lock.NewRWMutex(s, "/lock", lock.Options{}).Lock(ctx)
		if err != nil {
			return nil, err
		}
		if err := g.Downgrade(ctx); err != nil {
			g.Unlock(context.Background())
			return nil, err
		}
		return g.Unlock, nil
	},
	"Semaphore": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewSemaphore(s, "/sem", 3, lock.Options{}).Acquire(ctx, 2))
	},
	"Multi": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewMulti(s, []string{"/b", "/lock", "/a"}, lock.Options{}).Lock(ctx))
	},
	"Exclusive": func(ctx context.Context, s *session.Session) (undo, error) {
		return unlocker(lock.NewExclusive(s, "/node", lock.Options{}).Lock(ctx))
	},
}

// blockers maps the names of calls to the calls that make them wait. A call whose name is not in
// this map waits for another call of the same kind.
var blockers = map[string]do{
	"reader":     calls["writer"],
	"downgraded": calls["reader"],
}

// block returns a call that makes the named call wait.
func block(name string) do {
	if blocker, other := blockers[name]; other {
		return blocker
	}
	return calls[name]
}

// A call that is interrupted at any of its requests leaves no znode. Another client can then make
// the same call. In samuel/go-zookeeper#229, the reply to a create was lost, and the znode blocked
// everybody. In Shopify/zk, 94 of 200 cancelled calls left their znodes. CURATOR-45 and CURATOR-79
// are similar.
//
// Covers L4.
func TestBrokenCallLeavesNoNode(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Run("free", recipetest.Call{Do: call}.AtEachCrashPoint)
			t.Run("blocked", recipetest.Call{Do: call, Block: block(name)}.AtEachCrashPoint)
		})
	}
}

// This test makes each call again and again. The n-th time, it cancels the call just before the
// call's n-th wait. The cancelled call leaves no znode. It may abandon a request before the request
// is sent, for example a create, and then send a request that undoes it, for example a delete. If
// the abandoned create were sent after the delete, its znode would remain.
//
// Covers L4.
func TestCallCancelledBetweenTwoStepsLeavesNoNode(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { recipetest.CancelBetweenSteps(t, call) })
	}
}
