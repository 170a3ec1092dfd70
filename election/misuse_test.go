package election_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// ClickHouse Keeper resumes no session, and the lease has no proof there. A
// candidate does not try again and again.
func TestNoLeaderOnAServerThatIsNotZooKeeper(t *testing.T) {
	recipetest.RunOn(t, zktest.Options{NoResume: true}, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		w.Within(time.Minute, "Run", func(ctx context.Context) error {
			err := election.New(c.Session, "/e", election.Options{}).Run(ctx, func(context.Context, *election.Term) error {
				t.Error("it leads")
				return nil
			})
			if !errors.Is(err, session.ErrNotZooKeeper) {
				t.Errorf("got %v, want %v", err, session.ErrNotZooKeeper)
			}
			return nil
		})
		synctest.Wait()
		w.NothingLeft()
		if n := c.Count(); n > 15 {
			t.Errorf("%d requests", n)
		}
	})
}

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
