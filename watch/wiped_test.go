package watch_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
	"github.com/zkcoord/zkcoord/zktest"
)

// The method `wipe` stops the world's ensemble, waits for the time `after`, and replaces the
// ensemble by one without data. It makes the given changes in the new ensemble before the watching
// sessions can connect to it.
func (w *world) wipe(after time.Duration, changes ...string) {
	w.t.Helper()
	w.server.Store(-1)
	for i := range w.Servers() {
		w.Kill(i)
	}
	time.Sleep(after)
	w.Ensemble = zktest.Start(w.t)
	other := w.Ensemble
	opts := session.Options{Servers: other.Servers(), Dial: other.DialContext, Timeout: 30 * time.Second}
	// Opening a session uses up a zxid. The test had opened two sessions before it filled the
	// ensemble that was wiped. So open two sessions here too. Then the changes get the same zxids
	// as before the wipe.
	w.open(opts)
	w.admin = w.open(opts)
	w.do(changes...)
	w.server.Store(int32((w.Leader() + 1) % 3))
}

// The type `followed` has one stream of each kind. The stream in the field `data` follows the znode
// /a/x, and the others follow the directory /a. Each stream continues over sessions.
type followed struct {
	data     *feed[watch.DataChange]
	children *feed[watch.ChildrenChange]
	node     *feed[watch.NodeChange]
	tree     *feed[watch.TreeChange]
	both     *feed[watch.ChildrenDataChange]
}

func followAll(t *testing.T, w *world) followed {
	f := followed{
		data:     listen(t, watch.NewData("/a/x").Run(t.Context(), w.options())),
		children: listen(t, watch.NewChildren("/a").Run(t.Context(), w.options())),
		node:     listen(t, watch.NewNode("/a").Run(t.Context(), w.options())),
		tree:     listen(t, watch.NewTree("/a", watch.TreeOptions{}).Run(t.Context(), w.options())),
		both:     listen(t, watch.NewChildrenData("/a").Run(t.Context(), w.options())),
	}
	f.data.next()
	f.children.next()
	f.node.next()
	f.tree.next()
	f.both.next()
	return f
}

func (f followed) none() {
	f.data.none()
	f.children.none()
	f.node.none()
	f.tree.none()
	f.both.none()
}

// Streams report the new state after an ensemble was wiped and filled again by the same steps
// (docker-compose down -v; up). Regression: no change was reported, because the czxids and mzxids
// were the same as before, although the data was not.
//
// Covers W5.
func TestWipedEnsembleIsNoticed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/y 1")
		f := followAll(t, w)
		before, err := w.admin.Get(t.Context(), "/a/x")
		w.must(err)

		w.wipe(time.Minute, "+/a 0", "+/a/x 1", "+/a/y 2")
		after, err := w.admin.Get(t.Context(), "/a/x")
		w.must(err)
		if before.Stat.Czxid != after.Stat.Czxid || before.Stat.Mzxid != after.Stat.Mzxid {
			t.Fatalf("zxids differ after the same steps, so the test proves nothing: stat before %+v, after %+v", before.Stat, after.Stat)
		}
		expect(t, sayData(f.data.next()), `recreated "1" v0, none`)
		expect(t, sayChildren(f.children.next()), "[x y] +[x y] -[x y] true, none")
		expect(t, sayNode(f.node.next()), `recreated "0" [x y] +[x y] -[x y], none`)
		expect(t, sayTree(f.tree.next()), "recreated /a=0, recreated /a/x=1, recreated /a/y=2")
		expect(t, sayChildrenData(f.both.next()), "[/a/x=1 /a/y=2] +[/a/x=1 /a/y=2] -[/a/x=1 /a/y=1] *[]")
		f.none()
		w.do("=/a/x 3")
		expect(t, sayData(f.data.next()), `changed "3" v1, changed`)
		expect(t, sayTree(f.tree.next()), "changed /a/x=3")
	})
}

// In this test, an ensemble is wiped and filled again by the same steps, but with other data. The
// virtual clock does not advance meanwhile. So the times in the stats are the same as before, like
// the zxids, and only the data differs. (With a real clock, this can happen if the clock is set
// back.)
//
// Covers W5.
func TestDataIsComparedToo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1", "+/a/y 1")
		f := followAll(t, w)
		w.wipe(0, "+/a 5", "+/a/x 2", "+/a/y 1")
		if c := f.data.next(); string(c.Data) != "2" {
			t.Errorf("data: got %s, want data \"2\"", sayData(c))
		}
		if c := f.node.next(); string(c.Data) != "5" {
			t.Errorf("node: got %s, want data \"5\"", sayNode(c))
		}
		if c := sayTree(f.tree.next()); !strings.Contains(c, " /a=5") || !strings.Contains(c, " /a/x=2") {
			t.Errorf("tree: got %s, want /a=5 and /a/x=2", c)
		}
		if c := f.both.next(); sayEntries(c.Children) != "/a/x=2 /a/y=1" {
			t.Errorf("children with data: got %s, want /a/x=2 and /a/y=1", sayChildrenData(c))
		}
	})
}

// A consumer may modify the data that it receives. The stream does not report this as a change.
func TestChangedDataOfAConsumerIsNoChange(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := listen(t, watch.NewData("/a").Run(ctx, w.options()))
		f.next().Data[0] = 'x'
		w.expireFollowers()
		time.Sleep(time.Minute)
		f.none()
	})
}
