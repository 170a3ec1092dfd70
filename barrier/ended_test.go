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

// A call whose context has already ended sends no request.
//
// Covers D6.
func TestCallWithAnEndedContextMakesNoRequest(t *testing.T) {
	recipetest.EndedContextSendsNothing(t, map[string]func(context.Context, *session.Session) error{
		"Set":    func(ctx context.Context, s *session.Session) error { return barrier.New(s, path).Set(ctx) },
		"Remove": func(ctx context.Context, s *session.Session) error { return barrier.New(s, path).Remove(ctx) },
		"Wait":   func(ctx context.Context, s *session.Session) error { return barrier.New(s, path).Wait(ctx) },
		"Enter": func(ctx context.Context, s *session.Session) error {
			_, err := barrier.NewDouble(s, path, 2).Enter(ctx)
			return err
		},
	})
}

// If Set or Enter creates the parents of its znode and a server then refuses the znode, the parents
// are deleted again. Regression: the parents remained, because servers before version 3.10 do not
// delete a container that never had a child.
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
