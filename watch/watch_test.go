package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

// The functions below format a change as one line.

// The function `say` returns a change of any kind as text.
func say(change any) string {
	switch c := change.(type) {
	case watch.DataChange:
		return sayData(c)
	case watch.ChildrenChange:
		return sayChildren(c)
	case watch.NodeChange:
		return sayNode(c)
	case watch.ChildrenDataChange:
		return sayChildrenData(c)
	case watch.TreeChange:
		return sayTree(c)
	}
	return fmt.Sprintf("%+v", change)
}

func sayData(c watch.DataChange) string {
	if c.Stat == nil {
		return fmt.Sprintf("%v, %s", c.Kind, event(int(c.Event)))
	}
	return fmt.Sprintf("%v %q v%d, %s", c.Kind, c.Data, c.Stat.Version, event(int(c.Event)))
}

func sayChildren(c watch.ChildrenChange) string {
	return fmt.Sprintf("%v +%v -%v %v, %s", c.Names, c.Added, c.Removed, c.Stat != nil, event(int(c.Event)))
}

func sayNode(c watch.NodeChange) string {
	return fmt.Sprintf("%v %q %v +%v -%v, %s", c.Kind, c.Data, c.Names, c.Added, c.Removed, event(int(c.Event)))
}

func event(e int) string {
	return []string{"none", "created", "deleted", "changed", "children"}[e]
}

func sayEntries(list []watch.Entry) string {
	var words []string
	for _, e := range list {
		words = append(words, fmt.Sprintf("%s=%s", e.Path, e.Data))
	}
	return strings.Join(words, " ")
}

func sayChildrenData(c watch.ChildrenDataChange) string {
	return fmt.Sprintf("[%s] +[%s] -[%s] *[%s]", sayEntries(c.Children), sayEntries(c.Added), sayEntries(c.Removed), sayEntries(c.Changed))
}

func sayTree(c watch.TreeChange) string {
	var words []string
	for _, e := range c.Changes {
		words = append(words, fmt.Sprintf("%v %s=%s", e.Kind, e.Path, e.Data))
	}
	return strings.Join(words, ", ")
}

// sayTrees formats several changes as if they were one. Events of several znodes arrive one by one,
// so a stream may report the changes of these znodes in one TreeChange or in several.
func sayTrees(list []watch.TreeChange) string {
	var all watch.TreeChange
	for _, c := range list {
		all.Changes = append(all.Changes, c.Changes...)
	}
	slices.SortStableFunc(all.Changes, func(a, b watch.EntryChange) int {
		return strings.Compare(a.Path, b.Path)
	})
	return sayTree(all)
}

// sayChildrenDatas formats several changes of children with data as if they were one.
func sayChildrenDatas(list []watch.ChildrenDataChange) string {
	all := list[len(list)-1]
	all.Added, all.Removed, all.Changed = nil, nil, nil
	for _, c := range list {
		all.Added = append(all.Added, c.Added...)
		all.Removed = append(all.Removed, c.Removed...)
		all.Changed = append(all.Changed, c.Changed...)
	}
	return sayChildrenData(all)
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("the watcher reported\n%s\nwant\n%s\n(+ added, - removed, * changed; then whether the znode exists, and the event)", got, want)
	}
}

// The first pair has the current state, and each later pair has one change. A deletion and a new
// creation are reported, and a change of the children is not.
//
// Covers W1, W3, W5.
func TestData(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := listen(t, watch.NewData("/a").Changes(t.Context(), w.s))
		expect(t, sayData(f.next()), "initial, none")
		w.do("+/a 1")
		expect(t, sayData(f.next()), `created "1" v0, created`)
		w.do("=/a 2")
		expect(t, sayData(f.next()), `changed "2" v1, changed`)
		w.do("=/a 2")
		expect(t, sayData(f.next()), `changed "2" v2, changed`)
		w.do("+/a/child", "-/a/child")
		f.none()
		w.do("-/a")
		expect(t, sayData(f.next()), "deleted, deleted")
		w.do("+/a 3")
		expect(t, sayData(f.next()), `created "3" v0, created`)
		f.none()
	})
}

// The first pair has all children, and each later pair has the children that were created or
// deleted. A change of data is not reported.
//
// Covers W1, W3, W5.
func TestChildren(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a", "+/a/x", "+/a/y")
		f := listen(t, watch.NewChildren("/a").Changes(t.Context(), w.s))
		expect(t, sayChildren(f.next()), "[x y] +[x y] -[] true, none")
		w.do("+/a/b")
		expect(t, sayChildren(f.next()), "[b x y] +[b] -[] true, children")
		w.do("-/a/x")
		expect(t, sayChildren(f.next()), "[b y] +[] -[x] true, children")
		w.do("=/a 1", "=/a/y 1", "+/a/y/z")
		f.none()
		w.do("-/a")
		for c := f.next(); c.Stat != nil; c = f.next() { // the children of /a are deleted before /a
		}
		w.do("+/a")
		expect(t, sayChildren(f.next()), "[] +[] -[] true, created")
		f.none()
	})
}

// A stream of a missing znode does not end, and reports the znode when it is created. Regression: a
// children watch of kazoo stopped silently if the znode was missing (kazoo#153).
//
// Covers W1, W6.
func TestMissingNodeDoesNotEndAStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		children := listen(t, watch.NewChildren("/a").Changes(t.Context(), w.s))
		node := listen(t, watch.NewNode("/a").Changes(t.Context(), w.s))
		tree := listen(t, watch.NewTree("/a", watch.TreeOptions{}).Changes(t.Context(), w.s))
		both := listen(t, watch.NewChildrenData("/a").Changes(t.Context(), w.s))
		expect(t, sayChildren(children.next()), "[] +[] -[] false, none")
		expect(t, sayNode(node.next()), `initial "" [] +[] -[], none`)
		expect(t, sayTree(tree.next()), "")
		expect(t, sayChildrenData(both.next()), "[] +[] -[] *[]")
		for range 3 {
			w.do("+/a 1")
			expect(t, sayChildren(children.next()), "[] +[] -[] true, created")
			expect(t, sayNode(node.next()), `created "1" [] +[] -[], created`)
			expect(t, sayTree(tree.next()), "created /a=1")
			expect(t, sayChildrenData(both.next()), "[] +[] -[] *[]")
			w.do("+/a/x 2")
			expect(t, sayChildren(children.next()), "[x] +[x] -[] true, children")
			expect(t, sayNode(node.next()), `same "1" [x] +[x] -[], children`)
			expect(t, sayTree(tree.next()), "created /a/x=2")
			expect(t, sayChildrenData(both.next()), "[/a/x=2] +[/a/x=2] -[] *[]")
			w.do("-/a/x")
			expect(t, sayChildren(children.next()), "[] +[] -[x] true, children")
			expect(t, sayNode(node.next()), `same "1" [] +[] -[x], children`)
			expect(t, sayTree(tree.next()), "deleted /a/x=")
			expect(t, sayChildrenData(both.next()), "[] +[] -[/a/x=2] *[]")
			w.do("-/a")
			expect(t, sayChildren(children.next()), "[] +[] -[] false, deleted")
			expect(t, sayNode(node.next()), `deleted "" [] +[] -[], deleted`)
			expect(t, sayTree(tree.next()), "deleted /a=")
			expect(t, sayChildrenData(both.next()), "[] +[] -[] *[]")
		}
		children.none()
		node.none()
		tree.none()
		both.none()
	})
}

// Each change of the data or of the children is reported once. The reported stat fits both the
// reported data and the reported children.
//
// Covers W5, W9.
func TestNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 1", "+/a/x")
		f := listen(t, watch.NewNode("/a").Changes(t.Context(), w.s))
		expect(t, sayNode(f.next()), `initial "1" [x] +[x] -[], none`)
		w.do("=/a 2")
		c := f.next()
		expect(t, sayNode(c), `changed "2" [x] +[] -[], changed`)
		if c.Stat.Version != 1 || c.Stat.NumChildren != 1 || c.Stat.DataLength != 1 {
			t.Errorf("got stat %+v, want version 1, 1 child and 1 byte", c.Stat)
		}
		w.do("+/a/y")
		c = f.next()
		expect(t, sayNode(c), `same "2" [x y] +[y] -[], children`)
		if c.Stat.NumChildren != 2 || c.Stat.Cversion != 2 {
			t.Errorf("got stat %+v, want cversion 2 and 2 children", c.Stat)
		}
		f.none()
	})
}

// Data and children that are always changed together are always reported
// together.
//
// Covers W9, W2.
func TestNodeIsOneState(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/0")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			defer cancel()
			for i := range 100_000 {
				_, err := w.admin.Multi(ctx,
					session.SetOp{Path: "/a", Data: fmt.Append(nil, i+1), Version: session.AnyVersion},
					session.DeleteOp{Path: fmt.Sprintf("/a/%d", i), Version: session.AnyVersion},
					session.CreateOp{Path: fmt.Sprintf("/a/%d", i+1)})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
			}
		}()
		const enough = 50
		told, last := 0, int64(0)
		for c, err := range watch.NewNode("/a").Changes(ctx, w.s) {
			if err != nil {
				t.Fatalf("changes of /a: got error %v after %d changes, want none", err, told)
			}
			if told == enough {
				break
			}
			if len(c.Names) != 1 || c.Names[0] != string(c.Data) {
				t.Fatalf("got data %s with children %v, want one child of that name", c.Data, c.Names)
			}
			if c.Stat.Mzxid <= last {
				t.Fatalf("got zxid %d after %d, want a larger one", c.Stat.Mzxid, last)
			}
			last = c.Stat.Mzxid
			told++
		}
		if told < enough {
			t.Errorf("only %d changes were reported, which proves little; want %d", told, enough)
		}
	})
}

// The first pair has the whole tree, except znodes that are skipped or too deep. Each later pair
// has one change.
//
// Covers W1, W3.
func TestTree(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/x/y 2", "+/a/x/y/z 3", "+/a/skip", "+/a/skip/b")
		opts := watch.TreeOptions{Depth: 2, Skip: func(path string) bool { return path == "/a/skip" }}
		f := listen(t, watch.NewTree("/a", opts).Changes(t.Context(), w.s))
		expect(t, sayTree(f.next()), "initial /a=0, initial /a/x=1, initial /a/x/y=2")
		w.do("=/a/x/y/z 4", "+/a/x/y/z2", "=/a/skip 1", "+/a/skip/c")
		f.none()
		w.do("=/a/x/y 5")
		expect(t, sayTree(f.next()), "changed /a/x/y=5")
		w.do("+/a/b 6")
		expect(t, sayTree(f.next()), "created /a/b=6")
		f.none()
	})
}

// Every kind of stream reports that a znode was deleted and created again while the consumer was
// busy or the connection was lost. Regression: Curator's TreeCache missed this while the connection
// was lost, because it compared only versions (CURATOR-391).
//
// Covers W5, W6.
func TestRecreationIsSeen(t *testing.T) {
	for _, when := range []string{"while busy", "while away"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.do("+/a 0", "+/a/x 1", "+/a/y 1")
				parent := listen(t, watch.NewData("/a").Changes(t.Context(), w.s))
				data := listen(t, watch.NewData("/a/x").Changes(t.Context(), w.s))
				children := listen(t, watch.NewChildren("/a").Changes(t.Context(), w.s))
				node := listen(t, watch.NewNode("/a").Changes(t.Context(), w.s))
				tree := listen(t, watch.NewTree("/a", watch.TreeOptions{}).Changes(t.Context(), w.s))
				both := listen(t, watch.NewChildrenData("/a").Changes(t.Context(), w.s))
				parent.next()
				data.next()
				children.next()
				node.next()
				tree.next()
				both.next()
				again := []string{"-/a/x", "+/a/x 1", "=/a/y 2", "+/a/gone", "-/a/gone"}
				if when == "while away" {
					mend := w.cut()
					w.do(again...)
					mend()
				} else {
					w.do("=/a/x 0", "+/a/b") // keeps the streams busy
					w.do(again...)
					expect(t, sayData(data.next()), `changed "0" v1, changed`)
					expect(t, sayChildren(children.next()), "[b x y] +[b] -[] true, children")
					expect(t, sayNode(node.next()), `same "0" [b x y] +[b] -[], children`)
					tree.next()
					both.next()
				}
				expect(t, strings.Fields(sayData(data.next()))[0], "recreated")
				c, n := children.next(), node.next()
				if !slices.Equal(c.Added, []string{"x"}) || !slices.Equal(c.Removed, []string{"x"}) {
					t.Errorf("children: got %s, want x added and removed", sayChildren(c))
				}
				if !slices.Equal(n.Added, []string{"x"}) || !slices.Equal(n.Removed, []string{"x"}) {
					t.Errorf("node: got %s, want x added and removed", sayNode(n))
				}
				if tr := sayTrees(tree.all()); !strings.Contains(tr, "recreated /a/x=1, changed /a/y=2") {
					t.Errorf("tree: got %s, want /a/x recreated and /a/y changed", tr)
				}
				bo := sayChildrenDatas(both.all())
				if !strings.Contains(bo, "/a/x=1] -[/a/x=") || !strings.HasSuffix(bo, "*[/a/y=2]") {
					t.Errorf("children with data: got %s, want x added and removed, and y changed", bo)
				}
				parent.none()
				data.none()
				children.none()
				node.none()
				tree.none()
				both.none()
			})
		})
	}
}

// A consumer that was busy during 500 changes gets the newest state next. It does not delay another
// stream of the same session.
//
// Covers W4, W8.
func TestSlowConsumerGetsTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0")
		slow := listen(t, watch.NewNode("/a").Changes(t.Context(), w.s))
		quick := listen(t, watch.NewData("/a").Changes(t.Context(), w.s))
		expect(t, sayNode(slow.next()), `initial "0" [] +[] -[], none`)
		quick.next()
		w.do("=/a first") // keeps the slow stream busy
		quick.next()
		for i := range 500 {
			w.do(fmt.Sprintf("=/a %d", i), fmt.Sprintf("+/a/%03d", i))
			expect(t, string(quick.next().Data), fmt.Sprint(i))
			if _, err := w.s.Get(t.Context(), "/a"); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, sayNode(slow.next()), `changed "first" [] +[] -[], changed`)
		c := slow.next()
		if string(c.Data) != "499" || len(c.Names) != 500 || len(c.Added) != 500 {
			t.Errorf("got data %q, %d children and %d added, want \"499\", 500 and 500",
				c.Data, len(c.Names), len(c.Added))
		}
		slow.none()
	})
}

// Streams report the changes that were made while the connection was lost. Regression: watches of
// kazoo were lost together with the connection (kazoo#151, #218, #29).
//
// Covers W6.
func TestReconnectLeavesNoGap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1")
		tree := listen(t, watch.NewTree("/a", watch.TreeOptions{}).Changes(t.Context(), w.s))
		node := listen(t, watch.NewNode("/a").Changes(t.Context(), w.s))
		later := listen(t, watch.NewData("/b").Changes(t.Context(), w.s))
		tree.next()
		node.next()
		later.next()
		for i := range 5 {
			mend := w.cut()
			mend()
			tree.none()
			node.none()
			later.none()
			mend = w.cut()
			w.do(fmt.Sprintf("=/a/x %d", i+10), fmt.Sprintf("+/a/y%d", i), fmt.Sprintf("=/a %d", i), "+/b 1")
			mend()
			expect(t, sayTrees(tree.all()), fmt.Sprintf("changed /a=%d, changed /a/x=%d, created /a/y%d=", i, i+10, i))
			n := node.all()
			if last := n[len(n)-1]; string(last.Data) != fmt.Sprint(i) || len(last.Names) != i+2 {
				t.Errorf("round %d: got %s, want data \"%d\" and %d children",
					i, sayNode(last), i, i+2)
			}
			expect(t, sayData(later.next()), `created "1" v0, created`)
			w.do("-/b")
			expect(t, sayData(later.next()), `deleted, deleted`)
		}
	})
}

// A stream ends with the cause when its context ends, or when its session expires or is closed. No
// watch remains at the servers.
//
// Covers W7.
func TestStreamsEndOnceWithTheCause(t *testing.T) {
	why := errors.New("enough")
	causes := map[string]func(w *world, cancel context.CancelCauseFunc) error{
		"ctx": func(_ *world, cancel context.CancelCauseFunc) error { cancel(why); return why },
		"expiry": func(w *world, _ context.CancelCauseFunc) error {
			w.must(w.Expire(w.s.ID()))
			return session.ErrLost
		},
		"close": func(w *world, _ context.CancelCauseFunc) error { w.s.Close(); return session.ErrClosed },
	}
	for name, end := range causes {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.do("+/a 0", "+/a/x 1")
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				data := listen(t, watch.NewData("/a").Changes(ctx, w.s))
				missing := listen(t, watch.NewChildren("/missing").Changes(ctx, w.s))
				node := listen(t, watch.NewNode("/a").Changes(ctx, w.s))
				tree := listen(t, watch.NewTree("/a", watch.TreeOptions{}).Changes(ctx, w.s))
				data.next()
				missing.next()
				node.next()
				tree.next()
				if n := w.serverWatches(); n != 5 {
					t.Errorf("got %d watches at the servers, want 5: data of three paths, children of two", n)
				}
				want := end(w, cancel)
				for i, err := range []error{data.end(), missing.end(), node.end(), tree.end()} {
					if !errors.Is(err, want) {
						t.Errorf("stream of %s: ended with %v, want %v",
							[]string{"data", "missing znode", "node", "tree"}[i], err, want)
					}
				}
				time.Sleep(10 * time.Second) // the session removes watches with the next ping
				if n := w.serverWatches(); n != 0 {
					t.Errorf("got %d watches at the servers, want none", n)
				}
			})
		})
	}
}

// A stream of an invalid path ends at once. Its error names what was watched.
//
// Covers W7.
func TestErrorOfTheServerEndsAStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		err := listen(t, watch.NewData("not a path").Changes(t.Context(), w.s)).end()
		if !strings.HasPrefix(err.Error(), "watch: data of not a path: ") {
			t.Errorf("got error %q, want the prefix \"watch: data of not a path: \"", err)
		}
	})
}

// A Watcher continues in a new session from the state that it reported last, even if the new server
// lags behind. It reports a child that was recreated between the sessions.
//
// Covers W2, W5.
func TestFollowGoesOnWhereItWas(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/y 1")
		lagging := (w.server.Load() + 1) % 3
		for int(lagging) == w.Leader() || lagging == w.server.Load() {
			lagging = (lagging + 1) % 3
		}
		tree := watch.NewTree("/a", watch.TreeOptions{})
		f := listen(t, watch.NewChildren("/a").Run(t.Context(), w.options()))
		g := listen(t, tree.Run(t.Context(), w.options()))
		f.next()
		g.next()
		w.do("+/a/z 1")
		expect(t, sayChildren(f.next()), "[x y z] +[z] -[] true, children")
		expect(t, sayTree(g.next()), "created /a/z=1")

		w.server.Store(-1)
		w.expireFollowers()
		time.Sleep(time.Second)
		// The lagging server has not applied the next changes yet when the sessions connect to it.
		w.Lag(int(lagging), 2*time.Second)
		w.do("-/a/x", "+/a/x 1", "-/a/z")
		w.server.Store(lagging)
		expect(t, sayChildren(f.next()), "[x y] +[x] -[x z] true, none")
		expect(t, sayTree(g.next()), "deleted /a/z=, recreated /a/x=1")
		f.none()
		g.none()
		if e, ok := tree.Get("/a/x"); !ok || string(e.Data) != "1" || tree.Len() != 3 {
			t.Errorf("got /a/x %v, data %q and %d znodes in the copy, want true, data \"1\" and 3 znodes",
				ok, e.Data, tree.Len())
		}

		w.server.Store(0)
		w.expireFollowers()
		time.Sleep(time.Minute)
		f.none()
		g.none()
	})
}

// Run ends soon when the consumer leaves the loop, even if the session is lost at that moment. Run
// also ends, with the cause, when its context ends.
//
// Covers W7.
func TestFollowCanBeLeft(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0")
		left := make(chan struct{})
		go func() {
			defer close(left)
			for c, err := range watch.NewData("/a").Run(t.Context(), w.options()) {
				w.must(err)
				w.expireFollowers() // the session is lost while the loop is left
				time.Sleep(time.Second)
				expect(t, sayData(c), `initial "0" v0, none`)
				break
			}
		}()
		select {
		case <-left:
		case <-time.After(time.Minute):
			t.Fatal("Run has not ended a minute after its loop was left, want it to end at once")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		f := listen(t, watch.NewData("/a").Run(ctx, w.options()))
		f.next()
		why := errors.New("enough")
		cancel(why)
		if err := f.end(); !errors.Is(err, why) {
			t.Errorf("ended with %v, want %v", err, why)
		}
	})
}
