package lock_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/internal/coordtest"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/zktest"
)

type undo = func(context.Context) error

// unlocker returns a grant's Unlock.
func unlocker[G interface{ Unlock(context.Context) error }](g G, err error) (undo, error) {
	return g.Unlock, err
}

type do = func(ctx context.Context, c *coordtest.Client) (undo, error)

// calls are all calls of the package that may wait, by name.
var calls = map[string]do{
	"Mutex": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewMutex(c.Session, "/lock", lock.Options{}).Lock(ctx))
	},
	"Mutex with delay": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewMutex(c.Session, "/lock", lock.Options{Delay: coordtest.Timeout / 4}).Lock(ctx))
	},
	"writer": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewRWMutex(c.Session, "/lock", lock.Options{}).Lock(ctx))
	},
	"reader": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewRWMutex(c.Session, "/lock", lock.Options{}).RLock(ctx))
	},
	"downgraded": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		g, err := lock.NewRWMutex(c.Session, "/lock", lock.Options{}).Lock(ctx)
		if err != nil {
			return nil, err
		}
		if err := g.Downgrade(ctx); err != nil {
			g.Unlock(context.Background())
			return nil, err
		}
		return g.Unlock, nil
	},
	"Semaphore": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewSemaphore(c.Session, "/sem", 3, lock.Options{}).Acquire(ctx, 2))
	},
	"Multi": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewMulti(c.Session, []string{"/b", "/lock", "/a"}, lock.Options{}).Lock(ctx))
	},
	"Exclusive": func(ctx context.Context, c *coordtest.Client) (undo, error) {
		return unlocker(lock.NewExclusive(c.Session, "/node", lock.Options{}).Lock(ctx))
	},
}

// blockers make the calls wait.
var blockers = map[string]do{
	"reader":     calls["writer"],
	"downgraded": calls["reader"],
}

func each(t *testing.T, f func(t *testing.T, call coordtest.Call)) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Run("free", func(t *testing.T) { f(t, coordtest.Call{Do: call}) })
			t.Run("blocked", func(t *testing.T) { f(t, coordtest.Call{Do: call, Block: block(name)}) })
		})
	}
}

// block takes what the call waits for.
func block(name string) func(t *testing.T, w *coordtest.World) func() {
	blocker := blockers[name]
	if blocker == nil {
		blocker = calls[name]
	}
	return func(t *testing.T, w *coordtest.World) func() {
		release, err := blocker(t.Context(), w.Client())
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := release(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}

// Covers L4. Shopify/zk left the node of 94 of 200 cancelled acquires;
// CURATOR-45, CURATOR-79.
func TestCancelledCallLeavesNoNode(t *testing.T) {
	each(t, func(t *testing.T, call coordtest.Call) {
		call.AtEveryMoment(t, "cancelled", func(_ *coordtest.Client, cancel context.CancelFunc) { cancel() })
	})
}

// Covers L4. A session that is lost at any moment of a call blocks nobody.
func TestLostSessionLeavesNoNode(t *testing.T) {
	each(t, func(t *testing.T, call coordtest.Call) {
		call.AtEveryMoment(t, "session lost", func(c *coordtest.Client, _ context.CancelFunc) { go c.Lose() })
	})
}

// Covers L4. samuel/go-zookeeper#229: the reply to a create was lost, and its
// node blocked everybody.
func TestLostReplyLeavesNoNode(t *testing.T) {
	each(t, func(t *testing.T, call coordtest.Call) {
		call.AtEveryRequest(t, "reply lost", zktest.CloseBeforeReply)
	})
}

// Covers L4.
func TestLostRequestLeavesNoNode(t *testing.T) {
	each(t, func(t *testing.T, call coordtest.Call) {
		call.AtEveryRequest(t, "request lost", zktest.CloseBeforeRequest)
	})
}
