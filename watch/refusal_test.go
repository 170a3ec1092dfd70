package watch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

// Streams continue after a server has refused requests because it was too busy. Regression: the
// first such refusal ended a stream, and a Tree or a Value kept its old state.
//
// Covers W4, W6, W7.
func TestBusyServerEndsNoStream(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		admin := w.Admin()
		create := func(paths ...string) {
			for _, path := range paths {
				recipetest.Must(admin.Create(t.Context(), path, nil, session.Persistent))
			}
		}
		create("/a", "/a/x")
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		busy := map[string]*recipetest.Client{}
		refuse := func(count int) {
			var all []recipetest.Refusal
			for _, op := range []string{"getData", "getChildren2", "exists"} {
				for _, path := range []string{"/a", "/a/*", "/later"} {
					all = append(all, recipetest.Refusal{Op: op, Path: path, Count: count, Code: wire.ThrottledOp})
				}
			}
			for _, c := range busy {
				c.RefuseSome(all...)
			}
		}
		client := func(name string) *session.Session {
			busy[name] = w.Client()
			return busy[name].Session
		}
		d, l, n, c, tr, later := client("data"), client("children"), client("node"), client("childrenData"), client("tree"), client("later")
		refuse(2)
		data := listen(t, watch.NewData("/a").Changes(ctx, d))
		children := listen(t, watch.NewChildren("/a").Changes(ctx, l))
		node := listen(t, watch.NewNode("/a").Changes(ctx, n))
		childrenData := listen(t, watch.NewChildrenData("/a").Changes(ctx, c))
		tree := watch.NewTree("/a", watch.TreeOptions{})
		trees := listen(t, tree.Changes(ctx, tr))
		missing := listen(t, watch.NewChildren("/later").Changes(ctx, later))
		data.next()
		children.next()
		node.next()
		childrenData.next()
		trees.next()
		missing.next()

		refuse(2)
		recipetest.Check(t, admin.Delete(t.Context(), "/a/x", session.AnyVersion))
		create("/a/x", "/a/y", "/a/y/z", "/later", "/later/x")
		recipetest.Must(admin.Set(t.Context(), "/a", []byte("2"), session.AnyVersion))
		time.Sleep(recipetest.Timeout)
		if all := data.all(); string(all[len(all)-1].Data) != "2" {
			t.Errorf("data: got %q, want %q", all[len(all)-1].Data, "2")
		}
		for name, all := range map[string][]watch.ChildrenChange{"/a": children.all(), "/later": missing.all()} {
			if names := all[len(all)-1].Names; names[len(names)-1] != map[string]string{"/a": "y", "/later": "x"}[name] {
				t.Errorf("children of %s: got %q, want a list that ends with y for /a and with x for /later", name, names)
			}
		}
		if all := node.all(); string(all[len(all)-1].Data) != "2" || len(all[len(all)-1].Names) != 2 {
			t.Errorf("node: got %s, want data %q and 2 children", sayNode(all[len(all)-1]), "2")
		}
		if all := childrenData.all(); len(all[len(all)-1].Children) != 2 {
			t.Errorf("children with data: got %d, want 2", len(all[len(all)-1].Children))
		}
		trees.all()
		if tree.Len() != 4 {
			t.Errorf("tree: got %d znodes, want 4", tree.Len())
		}

		// The server is busy when the streams are ended.
		refuse(0)
		recipetest.Must(admin.Set(t.Context(), "/a", []byte("3"), session.AnyVersion))
		create("/a/w", "/later/w")
		time.Sleep(recipetest.Timeout)
		synctest.Wait()
		enough := errors.New("enough")
		stop(enough)
		for i, err := range []error{
			data.end(), children.end(), node.end(), childrenData.end(), trees.end(), missing.end(),
		} {
			if !errors.Is(err, enough) {
				t.Errorf("stream of %s: ended with %v, want %v",
					[]string{"data", "children", "node", "children with data", "tree", "missing znode"}[i], err, enough)
			}
		}
		w.NothingLeft()
	})
}

// In this test a child is created while the consumer is busy. When the consumer is free again, the
// server refuses the first reads. The stream repeats these reads and reports the child late.
//
// Covers W4, W7, W8.
func TestRefusedReadAfterABusyConsumer(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		create := func(path string) { recipetest.Must(w.Admin().Create(t.Context(), path, nil, session.Persistent)) }
		create("/a")
		c := w.Client()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		children := listen(t, watch.NewChildren("/a").Changes(ctx, c.Session))
		children.next()
		create("/a/x")
		synctest.Wait() // the consumer is busy with /a/x
		create("/a/y")
		c.Refuse(recipetest.Refusal{Op: "getChildren2", Path: "/a", Count: 4, Code: wire.ThrottledOp})
		time.Sleep(time.Minute)
		all := children.all()
		if names := all[len(all)-1].Names; !slices.Equal(names, []string{"x", "y"}) {
			t.Errorf("children: got %q, want x and y", names)
		}
		stop()
		children.end()
		w.NothingLeft()
	})
}

// A request that is refused for good ends a stream.
//
// Covers W7.
func TestForbiddenReadEndsAStream(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		recipetest.Must(w.Admin().Create(t.Context(), "/a", nil, session.Persistent))
		c.Refuse(recipetest.Refusal{Op: "getData", Path: "/a", Code: wire.NoAuth})
		if err := listen(t, watch.NewData("/a").Changes(t.Context(), c.Session)).end(); !errors.Is(err, session.ErrNoAuth) {
			t.Errorf("ended with %v, want %v", err, session.ErrNoAuth)
		}
		w.NothingLeft()
	})
}

// In this test, the child /org/a/y is created. When the client gets the event, it no longer has the
// permission to list the children of /org/a. The stream then leaves /org/a out of the tree. It
// reads /org/a again when /org/b, a sibling of /org/a, is created. Regression: /org/a stayed in the
// tree without a watch on its children, even after the client was allowed to list them again.
//
// Covers W4.
func TestZnodeThatMayNoLongerBeListedIsLeftOut(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		create := func(path string) { recipetest.Must(w.Admin().Create(t.Context(), path, nil, session.Persistent)) }
		create("/org")
		create("/org/a")
		create("/org/a/x")
		c := w.Client()
		forbidden := make(chan string, 10)
		tree := watch.NewTree("/org", watch.TreeOptions{Forbidden: func(path string) { forbidden <- path }})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		f := listen(t, tree.Changes(ctx, c.Session))
		expect(t, sayTree(f.next()), "initial /org=, initial /org/a=, initial /org/a/x=")
		refusal := c.Refuse(recipetest.Refusal{Op: "getChildren2", Path: "/org/a", Code: wire.NoAuth})
		create("/org/a/y")
		expect(t, sayTree(f.next()), "deleted /org/a/x=, deleted /org/a=")
		if path := <-forbidden; path != "/org/a" || len(forbidden) > 0 {
			t.Errorf("Forbidden was called with %s and %d more times, want once with /org/a", path, len(forbidden))
		}
		create("/org/a/z")
		f.none()
		refusal.Lift()
		create("/org/b")
		expect(t, sayTree(f.next()), "created /org/a=, created /org/a/x=, created /org/a/y=, created /org/a/z=, created /org/b=")
		create("/org/a/later")
		expect(t, sayTree(f.next()), "created /org/a/later=")
		if tree.Len() != 7 {
			t.Errorf("got %d znodes in the copy, want 7", tree.Len())
		}
		stop()
		f.end()
		w.NothingLeft()
	})
}
