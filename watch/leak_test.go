package watch_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/watch"
)

// 10,000 streams leave no watches at the servers and no goroutines when they have ended. In
// contrast, go-zookeeper never removes a watch, so programs that reload their configuration leak
// watches (prometheus#5093).
//
// Covers W7.
func TestTenThousandStreamsLeaveNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0", "+/a/x 1")
		round := func(n int, path func(i int) string) {
			for i := range n {
				takeOne(t, watch.NewData(path(i)).Changes(t.Context(), w.s))
				takeOne(t, watch.NewChildren(path(i)).Changes(t.Context(), w.s))
				takeOne(t, watch.NewNode(path(i)).Changes(t.Context(), w.s))
				takeOne(t, watch.NewTree(path(i), watch.TreeOptions{}).Changes(t.Context(), w.s))
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := w.serverWatches(); n != 0 {
				t.Errorf("got %d watches at the servers, want none", n)
			}
		}
		one := func(int) string { return "/a" }
		many := func(i int) string { return fmt.Sprintf("/missing/%d", i) }
		round(10, one)
		round(10, many)
		goroutines := runtime.NumGoroutine()
		round(1250, one)
		round(1250, many)
		// The runtime and the session start some goroutines. If each stream left one,
		// there would be thousands.
		if n := runtime.NumGoroutine(); n > goroutines+20 {
			t.Errorf("got %d goroutines, want at most %d, which is 20 more than before",
				n, goroutines+20)
		}
	})
}

func takeOne[C any](t *testing.T, stream iter.Seq2[C, error]) {
	for _, err := range stream {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

// All streams of one znode on one session share its watches at the server. No watch remains when
// the streams have ended.
//
// Covers W7.
func TestManyStreamsOnOnePathShareOneWatch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.do("+/a 0")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		feeds := make([]*feed[watch.NodeChange], 500)
		for i := range feeds {
			feeds[i] = listen(t, watch.NewNode("/a").Changes(ctx, w.s))
			feeds[i].next()
		}
		if n := w.serverWatches(); n != 2 {
			t.Errorf("got %d watches at the servers, want 2", n)
		}
		w.do("=/a 1")
		for _, f := range feeds {
			expect(t, string(f.next().Data), "1")
		}
		if n := w.serverWatches(); n != 2 {
			t.Errorf("got %d watches at the servers, want 2", n)
		}
		cancel()
		for _, f := range feeds {
			f.end()
		}
		time.Sleep(10 * time.Second)
		if n := w.serverWatches(); n != 0 {
			t.Errorf("got %d watches at the servers, want none", n)
		}
	})
}
