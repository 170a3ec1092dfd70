package lock_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

type undo = func(context.Context) error

// unlocker returns a grant's Unlock.
func unlocker[G interface{ Unlock(context.Context) error }](g G, err error) (undo, error) {
	return g.Unlock, err
}

type do = recipetest.Do

// calls are all calls of the package that may wait, by name.
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

// blockers make the calls wait.
var blockers = map[string]do{
	"reader":     calls["writer"],
	"downgraded": calls["reader"],
}

// block is what makes the call of that name wait.
func block(name string) do {
	if blocker, other := blockers[name]; other {
		return blocker
	}
	return calls[name]
}

// Covers L4. Shopify/zk left the node of 94 of 200 cancelled acquires;
// CURATOR-45, CURATOR-79; samuel/go-zookeeper#229: the reply to a create was
// lost, and its node blocked everybody.
func TestBrokenCallLeavesNoNode(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Run("free", recipetest.Call{Do: call}.AtEachCrashPoint)
			t.Run("blocked", recipetest.Call{Do: call, Block: block(name)}.AtEachCrashPoint)
		})
	}
}

// Covers L4. A request that its caller gave up does not go out behind the one
// that undoes it.
func TestCallCancelledBetweenTwoStepsLeavesNoNode(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { recipetest.CancelBetweenSteps(t, call) })
	}
}
