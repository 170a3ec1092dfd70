package election_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
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

// A context outlives its term where the program keeps it. It is then no reason to refuse.
func TestTermThatIsOverIsNoDeadlock(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := election.New(w.Client().Session, "/e", election.Options{})
		var kept context.Context
		err := c.Run(t.Context(), func(ctx context.Context, _ *election.Term) error {
			kept = context.WithoutCancel(ctx)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		term, err := c.Campaign(kept)
		if err != nil {
			t.Fatalf("Campaign after the term: %v", err)
		}
		if err := term.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
