package group_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
)

// A membership continues if a server that is too busy refuses to watch the member's znode.
// Regression: Done was closed, and Run removed the member from the group.
//
// Covers G1.
func TestBusyServerEndsNoMembership(t *testing.T) {
	for _, code := range []wire.Code{wire.ThrottledOp, wire.SystemError} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			c := w.Client()
			m := join(t, c, "a", "1")
			busy := c.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path + "/*", Count: 3, Code: code})
			m.Done()
			time.Sleep(recipetest.Timeout)
			if err := m.Err(); err != nil || busy.Fired() != 3 {
				t.Errorf("%v: got %v after %d refusals, want no error after 3", code, err, busy.Fired())
			}
			listed(t, w, "a=1")
			if err := w.Admin().Delete(t.Context(), w.Ephemerals(path)[0], session.AnyVersion); err != nil {
				t.Fatal(err)
			}
			w.Within(time.Second, "Wait", func(ctx context.Context) error {
				if err := m.Wait(ctx); !errors.Is(err, session.ErrRevoked) {
					t.Errorf("%v: got %v when the znode was deleted, want %v",
						code, err, session.ErrRevoked)
				}
				return nil
			})
		})
	}
}

// Run joins a group although the server is at first too busy and refuses the create request.
func TestRunJoinsAtABusyServer(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		var opts session.Options
		c := w.Client(func(o *session.Options) { opts = *o })
		busy := c.Refuse(recipetest.Refusal{Op: "create", Path: path + "/*", Count: 3, Code: wire.ThrottledOp})
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- group.Run(ctx, opts, path, "a", []byte("1"), nil) }()
		time.Sleep(recipetest.Timeout)
		listed(t, w, "a=1")
		if busy.Fired() != 3 {
			t.Errorf("got %d refusals, want 3", busy.Fired())
		}
		// Delete the znode, and let the server be busy until Run is stopped.
		c.Refuse(recipetest.Refusal{Op: "create", Path: path + "/*", Code: wire.ThrottledOp})
		if err := w.Admin().Delete(t.Context(), w.Ephemerals(path)[0], session.AnyVersion); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recipetest.Timeout)
		enough := errors.New("enough")
		stop(enough)
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("Run: got %v, want %v", err, enough)
		}
		w.NothingLeft()
	})
}

// A client that follows the group continues if a server that is too busy refuses its reads.
// Regression: the stream of changes ended, and a View kept its old list.
//
// Covers G4.
func TestBusyServerEndsNoStream(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f, c := w.Client(), w.Client()
		refuse := func() {
			f.RefuseSome(
				recipetest.Refusal{Op: "getChildren2", Path: path, Count: 2, Code: wire.ThrottledOp},
				recipetest.Refusal{Op: "exists", Path: path, Count: 2, Code: wire.ThrottledOp},
				recipetest.Refusal{Op: "getData", Path: path + "/*", Count: 2, Code: wire.ThrottledOp})
		}
		refuse()
		ctx, stop := context.WithCancelCause(t.Context())
		view := group.NewView(path)
		kept := make(chan error, 1)
		go func() { kept <- view.Keep(ctx, f.Session) }()
		time.Sleep(recipetest.Timeout)
		synctest.Wait()
		for _, member := range []string{"a", "b"} {
			refuse()
			join(t, c, member, "1")
			time.Sleep(recipetest.Timeout)
			if list := view.Members(); len(list) == 0 || list[len(list)-1].ID != member {
				t.Errorf("the view has %q, want it to end with %s", names(list), member)
			}
		}

		f.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path, Code: wire.ThrottledOp})
		join(t, c, "c", "1")
		time.Sleep(recipetest.Timeout)
		enough := errors.New("enough")
		stop(enough)
		if err := <-kept; !errors.Is(err, enough) {
			t.Errorf("Keep: got %v, want %v", err, enough)
		}
		if n := w.Watches(); n != 0 {
			t.Errorf("got %d watches, want none", n)
		}
	})
}

// A stream of changes ends if the ACL does not allow the client to list the members. A retry would
// not help, because only a person can change the ACL.
func TestForbiddenListEndsAStream(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		f := w.Client()
		f.Refuse(recipetest.Refusal{Op: "getChildren2", Path: path, Code: wire.NoAuth})
		w.Within(time.Second, "Keep", func(ctx context.Context) error {
			if err := group.NewView(path).Keep(ctx, f.Session); !errors.Is(err, session.ErrNoAuth) {
				t.Errorf("Keep: got %v, want %v", err, session.ErrNoAuth)
			}
			return nil
		})
	})
}

// Leave deletes all znodes of a member, including those that an earlier Update replaced but could
// not delete. In this test the server refuses every deletion for a while. Regression: Leave deleted
// only the newest znode, so the member was listed with its old data.
//
// Covers G1.
func TestLeaveRemovesWhatAnUpdateLeft(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		m := join(t, c, "a", "1")
		forbidden := c.Refuse(recipetest.Refusal{Op: "delete", Path: path + "/*", Code: wire.NoAuth})
		ok(t, m.Update(t.Context(), []byte("2")))
		ok(t, m.Update(t.Context(), []byte("3")))
		listed(t, w, "a=3")
		if err := m.Leave(t.Context()); !errors.Is(err, session.ErrNoAuth) {
			t.Errorf("Leave while deletions are refused: got %v, want %v", err, session.ErrNoAuth)
		}
		listed(t, w, "a=3")
		forbidden.Lift()
		ok(t, m.Leave(t.Context()))
		listed(t, w, "")
		w.NothingLeft()
	})
}
