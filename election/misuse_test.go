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

// In this test, the servers give the session no password, like the servers of ClickHouse Keeper.
// From the missing password, the session recognizes that the servers do not run ZooKeeper. On such
// servers a lease proves nothing, because the proof that leases are safe was derived from
// ZooKeeper's sources. So Campaign fails, and Run does not retry endlessly.
func TestNoLeaderOnAServerThatIsNotZooKeeper(t *testing.T) {
	recipetest.RunOn(t, zktest.Options{NoResume: true}, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		w.Within(time.Minute, "Run", func(ctx context.Context) error {
			err := election.New(c.Session, "/e", election.Options{}).Run(ctx, func(context.Context, *election.Term) error {
				t.Error("Run called the function, want no term")
				return nil
			})
			if !errors.Is(err, session.ErrNotZooKeeper) {
				t.Errorf("Run: got %v, want %v", err, session.ErrNotZooKeeper)
			}
			return nil
		})
		synctest.Wait()
		w.NothingLeft()
		if n := c.Count(); n > 15 {
			t.Errorf("requests: got %d, want at most 15", n)
		}
	})
}

// Campaign fails if a leader calls it within its own term, with the context of the term or with the
// context that Run passes to its function. In etcd#9980, a leader that campaigns again within its
// term waits for itself.
func TestLeaderDoesNotWaitForItself(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := election.New(w.Client().Session, "/e", election.Options{})
		other := election.New(w.Client().Session, "/e", election.Options{})
		refused := func(ctx context.Context) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if _, err := c.Campaign(ctx); !errors.Is(err, election.ErrDeadlock) {
				t.Errorf("Campaign within the own term: got %v, want %v", err, election.ErrDeadlock)
			}
			if _, err := other.Campaign(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Campaign in another session: got %v, want %v", err, context.DeadlineExceeded)
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

// Campaign accepts the context of a term that is over.
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
			t.Fatalf("Campaign after the term: got %v, want a term", err)
		}
		if err := term.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// In this test a client deletes the znode of a leader, and the leader has not noticed the deletion
// yet. The leader's writes are not applied.
//
// Covers E4.
func TestLeaderWhoseNodeIsGoneWritesNothing(t *testing.T) {
	for what, write := range map[string]func(context.Context, *election.Term) error{
		"proclaim": func(ctx context.Context, term *election.Term) error { return term.Proclaim(ctx, []byte("new")) },
		"txn": func(ctx context.Context, term *election.Term) error {
			_, err := term.Txn(ctx, session.CreateOp{Path: "/written", Mode: session.Persistent})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				term := now(t, campaign(w.Client(), t.Context(), "old"))
				recipetest.Check(t, w.Admin().Delete(t.Context(), term.Path(), session.AnyVersion))
				if term.Context().Err() != nil {
					t.Fatalf("cause of the term's context: got %v, want none yet", context.Cause(term.Context()))
				}
				if err := write(t.Context(), term); !errors.Is(err, session.ErrRevoked) || session.OutcomeOf(err) != session.Failed {
					t.Errorf("%s: got %v, outcome %v, want %v, outcome %v", what, err, session.OutcomeOf(err), session.ErrRevoked, session.Failed)
				}
				if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/written")); stat != nil {
					t.Errorf("/written after %s: got %+v, want no znode", what, stat)
				}
				if got := string(term.Value()); got != "old" {
					t.Errorf("value: got %q, want %q", got, "old")
				}
			})
		})
	}
}
