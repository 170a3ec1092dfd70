package recipe_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// For each fate of a write, Once calls the functions `send` and `look` the expected number of
// times, and returns the expected outcome.
//
// Covers S4.
func TestOnce(t *testing.T) {
	errLook := errors.New("not to be seen")
	for name, test := range map[string]struct {
		before func(c *recipetest.Client, w *recipetest.World)
		first  error // result of the first call of `send`, which then sends nothing
		gives  bool  // the caller gives up during the first call of `send`
		look   error // result of `look`
		sends  int
		looks  int
		want   session.Outcome
	}{
		"answered":     {sends: 1, want: session.OK},
		"not sent":     {first: &session.RequestError{Op: "create", Outcome: session.Failed, Err: zk.ErrNoServer}, sends: 2, want: session.OK},
		"given up":     {first: &session.RequestError{Op: "create", Outcome: session.Failed, Err: zk.ErrNoServer}, gives: true, sends: 1, want: session.Failed},
		"request lost": {before: lose(zktest.CloseBeforeRequest), sends: 2, looks: 1, want: session.OK},
		"reply lost":   {before: lose(zktest.CloseBeforeReply), sends: 1, looks: 1, want: session.OK},
		"look fails":   {before: lose(zktest.CloseBeforeReply), look: errLook, sends: 1, looks: 1, want: session.Indeterminate},
		"refused":      {before: refuse(wire.NoAuth), sends: 1, want: session.Failed},
		"busy":         {before: refuse(wire.ThrottledOp), sends: 1, want: session.Failed},
		"no proof":     {before: refuse(-999), sends: 1, looks: 1, want: session.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				if test.before != nil {
					test.before(c, w)
				}
				sends, looks := 0, 0
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := recipe.Once(ctx, c.Session, "/", func(ctx context.Context) error {
					if sends++; sends == 1 && test.first != nil {
						if test.gives {
							cancel()
						}
						return test.first
					}
					_, err := c.Create(ctx, "/own", nil, session.Persistent)
					return err
				}, func(ctx context.Context) (bool, error) {
					looks++
					if test.look != nil {
						return false, test.look
					}
					stat, err := c.Exists(ctx, "/own")
					return stat != nil, err
				})
				if sends != test.sends || looks != test.looks || session.OutcomeOf(err) != test.want {
					t.Errorf("got %d sends, %d reads, outcome %v (%v); want %d, %d, %v", sends, looks, session.OutcomeOf(err), err, test.sends, test.looks, test.want)
				}
				if test.look != nil && !errors.Is(err, test.look) {
					t.Errorf("got %v, want %v", err, test.look)
				}
				if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/own")); (stat != nil) != (test.want != session.Failed) {
					t.Errorf("outcome %v, but the znode exists: %v", test.want, stat != nil)
				}
			})
		})
	}
}

func lose(fate zktest.Fate) func(*recipetest.Client, *recipetest.World) {
	return func(c *recipetest.Client, w *recipetest.World) {
		w.Inject(zktest.Rule{Op: "create", Session: c.ID(), Fate: fate})
	}
}

func refuse(code wire.Code) func(*recipetest.Client, *recipetest.World) {
	return func(c *recipetest.Client, _ *recipetest.World) {
		c.Refuse(recipetest.Refusal{Op: "create", Path: "/own", Count: 1, Code: code})
	}
}

// Ensure creates a znode and its parents, and leaves an existing znode unchanged, whichever replies
// are lost.
func TestEnsure(t *testing.T) {
	for _, fate := range []zktest.Fate{zktest.CloseBeforeRequest, zktest.CloseBeforeReply} {
		for _, rule := range []zktest.Rule{{Op: "create"}, {Op: "createContainer"}, {Op: "create", Skip: 1}, {Op: "create", Skip: 2}} {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				rule.Session, rule.Fate = c.ID(), fate
				w.Inject(rule)
				for _, data := range []string{"first", "second"} {
					recipetest.Check(t, recipe.Ensure(t.Context(), c.Session, "/a/b", []byte(data), session.Persistent))
				}
				if value := recipetest.Must(w.Admin().Get(t.Context(), "/a/b")); string(value.Data) != "first" {
					t.Errorf("fate %d of %s number %d: data: got %q, want \"first\"",
						fate, rule.Op, rule.Skip+1, value.Data)
				}
			})
		}
	}
}
