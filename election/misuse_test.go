package election_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// etcd#9980: a leader that campaigns again within its term would wait for itself, whichever way it leads.
func TestLeaderDoesNotWaitForItself(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := election.New(w.Client().Session, "/e", election.Options{})
		other := election.New(w.Client().Session, "/e", election.Options{})
		refused := func(ctx context.Context) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if _, err := c.Campaign(ctx); !errors.Is(err, election.ErrDeadlock) {
				t.Errorf("Campaign within the own term: %v", err)
			}
			if _, err := other.Campaign(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Campaign in another session: %v", err)
			}
		}
		term, err := c.Campaign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		refused(term.Context())
		if err := term.Resign(t.Context()); err != nil {
			t.Error(err)
		}
		err = c.Run(t.Context(), func(ctx context.Context, _ *election.Term) error {
			refused(ctx)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// New accepts any path. The first call with an invalid one fails, and sends nothing.
func TestInvalidPathFailsTheFirstCall(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for _, path := range []string{"", "e", "/e/", "/a//e", "/a/../e"} {
			e := election.New(c.Session, path, election.Options{})
			calls := map[string]func(context.Context) error{
				"Campaign": func(ctx context.Context) error { _, err := e.Campaign(ctx); return err },
				"Leader":   func(ctx context.Context) error { _, err := e.Leader(ctx); return err },
				"Run":      func(ctx context.Context) error { return e.Run(ctx, nil) },
				"Observe": func(ctx context.Context) (err error) {
					for _, err = range e.Observe(ctx) {
					}
					return err
				},
			}
			for name, call := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := call(ctx); !errors.Is(err, znode.ErrPath) || session.OutcomeOf(err) != session.Failed {
					t.Errorf("%s at %q: got %v (%v), want %v (%v)", name, path, err, session.OutcomeOf(err), znode.ErrPath, session.Failed)
				}
				cancel()
			}
		}
		c.Expect(t, "calls with an invalid path", "")
	})
}
