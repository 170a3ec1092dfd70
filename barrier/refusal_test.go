package barrier_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// Regression: a member whose reply was lost gave up after the server refused
// one read. Its node stayed, and a round of two opened for one member.
//
// Covers D1, D2, D6.
func TestRoundOfTwoDoesNotOpenForOne(t *testing.T) {
	for name, code := range map[string]wire.Code{"busy": wire.ThrottledOp, "unknown": wire.SystemError} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				gaveUp, other := w.Client(), w.Client()
				d := barrier.NewDouble(gaveUp.Session, path, 2)
				w.Inject(zktest.Rule{Session: gaveUp.ID(), Op: "multi", Path: path, Skip: 2, Fate: zktest.CloseBeforeReply})
				gaveUp.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Count: 4, Code: code})
				soon, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer stop()
				_, err := d.Enter(soon)
				if err == nil || session.OutcomeOf(err) != session.Indeterminate {
					t.Fatalf("Enter: got error %v, want one with outcome Indeterminate", err)
				}
				// The next Enter starts after the first member is removed.
				ctx, cancel := context.WithCancel(t.Context())
				again := make(chan error, 1)
				go func() {
					_, err := d.Enter(ctx)
					again <- err
				}()
				time.Sleep(recipetest.Timeout)
				synctest.Wait()
				if n := len(w.Ephemerals(path)); n != 1 {
					t.Errorf("got %d members, want only that of the second Enter: %v", n, w.Nodes(path))
				}
				cancel()
				<-again
				synctest.Wait()
				alone, stopWaiting := context.WithTimeout(t.Context(), patience)
				defer stopWaiting()
				if r, err := barrier.NewDouble(other.Session, path, 2).Enter(alone); err == nil {
					t.Errorf("round %d of two members opened for one", r.Number())
				}
				w.NothingLeft()
			})
		})
	}
}

// Enter fails while an earlier member of the same Double may still be there, because a round must
// not count both of these members.
//
// Covers D1.
func TestEnterFailsWhileAnEarlierMemberMayBeThere(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		d := barrier.NewDouble(c.Session, path, 2)
		w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Path: path, Skip: 2, Fate: zktest.CloseBeforeReply})
		forbidden := c.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Code: wire.NoAuth})
		for range 2 {
			if _, err := d.Enter(t.Context()); !errors.Is(err, zk.ErrNoAuth) {
				t.Errorf("Enter: got error %v, want ErrNoAuth", err)
			}
		}
		if n := forbidden.Fired(); n < 2 || n > 15 {
			t.Errorf("the list was requested %d times, want 2 to 15", n)
		}
	})
}
