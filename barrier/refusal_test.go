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

// If a member gives up after a lost reply and a refused read, its znode is removed before another
// Enter of the same Double joins. Regression: the znode stayed, and a round of two opened for one
// member.
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

// Enter fails while the znode of an earlier member of the same Double may still exist, because a
// round must not count both the earlier member and the new member. Each Enter tries again to remove
// the earlier member.
//
// Covers D1, D6.
func TestEnterFailsWhileAnEarlierMemberMayBeThere(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		d := barrier.NewDouble(c.Session, path, 2)
		w.Inject(zktest.Rule{Session: c.ID(), Op: "multi", Path: path, Skip: 2, Fate: zktest.CloseBeforeReply})
		forbidden := c.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Code: wire.NoAuth})
		for i := range 4 {
			before := forbidden.Fired()
			if _, err := d.Enter(t.Context()); !errors.Is(err, zk.ErrNoAuth) {
				t.Errorf("Enter %d: got error %v, want ErrNoAuth", i+1, err)
			}
			if n := forbidden.Fired() - before; n < 1 || n > 30 {
				t.Errorf("Enter %d: the list was requested %d times, want 1 to 30", i+1, n)
			}
		}
		if n := len(w.Ephemerals(path)); n != 1 {
			t.Errorf("got %d members, want the first: %v", n, w.Nodes(path))
		}

		time.Sleep(time.Hour) // the failure of the last attempt is old by then
		forbidden.Lift()
		soon, stop := context.WithTimeoutCause(t.Context(), recipetest.Timeout, errAlone)
		defer stop()
		if _, err := d.Enter(soon); !errors.Is(err, errAlone) {
			t.Errorf("Enter when the list may be read again: got error %v, want %v", err, errAlone)
		}
		w.NothingLeft()
	})
}

// errAlone is the cause with which a member that is alone in its round gives up.
var errAlone = errors.New("no other member came")

// Members enter and leave a round even if their servers are too busy for some of the members'
// reads. Regression: a member gave up, although the round may have counted it.
func TestBusyServerEndsNoRound(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		var clients []*recipetest.Client
		refuse := func() {
			for _, c := range clients {
				c.RefuseSome(
					recipetest.Refusal{Op: "getData", Path: path + "/*", Count: 2, Code: wire.ThrottledOp},
					recipetest.Refusal{Op: "getData", Path: path + "/*/*", Count: 2, Code: wire.ThrottledOp},
					recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Count: 2, Code: wire.ThrottledOp})
			}
		}
		for range 3 {
			clients = append(clients, w.Client())
		}
		refuse()
		rounds, left := make(chan *barrier.Round, 3), make(chan error, 3)
		for _, c := range clients {
			go func() {
				r, err := barrier.NewDouble(c.Session, path, 3).Enter(t.Context())
				if err != nil {
					t.Errorf("Enter: got error %v, want a round", err)
				}
				rounds <- r
			}()
			synctest.Wait()
		}
		for range clients {
			r := <-rounds
			if r == nil {
				return
			}
			time.Sleep(recipetest.Timeout)
			refuse()
			go func() { left <- r.Leave(t.Context()) }()
		}
		for range clients {
			if err := <-left; err != nil {
				t.Errorf("Leave: got error %v, want nil", err)
			}
		}
		w.NothingLeft()
	})
}

// Wait does not fail if the waiter's server is too busy for some of the waiter's reads. Wait
// continues until the barrier is removed.
//
// Covers B2.
func TestBusyServerEndsNoWait(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		b := barrier.New(c.Session, "/maintenance")
		recipetest.Check(t, b.Set(t.Context()))
		c.Refuse(recipetest.Refusal{Op: "exists", Path: "/maintenance", Skip: 1, Count: 2, Code: wire.ThrottledOp})
		done := make(chan error, 1)
		go func() { done <- b.Wait(t.Context()) }()
		time.Sleep(recipetest.Timeout)
		recipetest.Check(t, barrier.New(w.Admin().Session, "/maintenance").Remove(t.Context()))
		if err := <-done; err != nil {
			t.Errorf("Wait: got error %v, want nil", err)
		}
		w.NothingLeft()
	})
}
