package barrier_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
)

// A call whose context has ended sends no request (etcd#10111).
//
// Covers D6.
func TestCallWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range map[string]func() error{
			"Set":    func() error { return barrier.New(c.Session, path).Set(ended) },
			"Remove": func() error { return barrier.New(c.Session, path).Remove(ended) },
			"Wait":   func() error { return barrier.New(c.Session, path).Wait(ended) },
			"Enter":  func() error { _, err := barrier.NewDouble(c.Session, path, 2).Enter(ended); return err },
		} {
			if err := call(); session.OutcomeOf(err) != session.Failed {
				t.Errorf("%s: got error %v with outcome %v, want outcome Failed", name, err, session.OutcomeOf(err))
			}
			c.Expect(t, name, "")
		}
	})
}

// Regression: a Set that was refused after it had created the parents left them
// behind. Servers before 3.10 keep them.
func TestRefusedSetLeavesNoDirectory(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/a/b/barrier", Skip: 1, Code: wire.QuotaExceeded})
		c.Refuse(recipetest.Refusal{Op: "multi", Path: "/a/b/barrier", Skip: 1, Code: wire.QuotaExceeded})
		if err := barrier.New(c.Session, "/a/b/barrier").Set(t.Context()); !errors.Is(err, session.ErrQuota) {
			t.Errorf("Set: got error %v, want ErrQuota", err)
		}
		synctest.Wait()
		if _, err := barrier.NewDouble(c.Session, "/a/b/barrier", 2).Enter(t.Context()); !errors.Is(err, session.ErrQuota) {
			t.Errorf("Enter: got error %v, want ErrQuota", err)
		}
		time.Sleep(5 * time.Minute)
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/a")); stat != nil {
			t.Errorf("left behind: /a and %v, want nothing", w.Nodes("/a"))
		}
	})
}
