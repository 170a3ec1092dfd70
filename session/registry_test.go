package session

import (
	"fmt"
	"slices"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A registryBench is a registry that has a connection. Its methods are the operations of a test on
// the registry.
type registryBench struct {
	*watchRegistry
	t *testing.T
}

func newBench(t *testing.T) *registryBench {
	b := &registryBench{newWatchRegistry("/app"), t}
	b.connected(nil, 0)
	return b
}

// The method `read` sends a read of a path. The answer to the read has the given code. The method
// returns whether the read sets a watch, and how many removals of watches are sent before the read.
func (b *registryBench) read(op wire.Op, path string, code wire.Code) (armed bool, removals int) {
	b.t.Helper()
	body := b.begin(op, path)
	first, marked := b.sending(op, body)
	if (marked != "") != (body[len(body)-1] == 1) {
		b.t.Errorf("read of %s: got path %q and flag %d, want both or neither", path, marked, body[len(body)-1])
	}
	if marked != "" {
		b.answered(op, marked, code)
	}
	return marked != "", b.frames(first)
}

func (b *registryBench) begin(op wire.Op, path string) []byte {
	frame := wire.AppendFrame(nil, &wire.RequestHeader{Xid: 1, Op: op}, &wire.PathWatch{Path: path})
	_, body, err := wire.CutRequest(frame[4:])
	must(b.t, err)
	return body
}

func (b *registryBench) frames(out []byte) (n int) {
	var frames wire.Frames
	must(b.t, frames.Feed(out, func(wire.Frame) error { n++; return nil }))
	return n
}

func (b *registryBench) event(kind zk.EventType, path string) {
	frame := wire.AppendFrame(nil, &wire.WatcherEvent{Type: wire.EventType(kind), State: int32(zk.StateHasSession), Path: path})
	must(b.t, b.notified(frame[4:]))
}

// One read sets the watch for all waiters of a path. When the last waiter stops, the watch is
// removed before the next read can set it again.
//
// Covers S6.
func TestRegistrySharesAndRemovesWatches(t *testing.T) {
	b := newBench(t)
	if armed, _ := b.read(wire.OpGetData, "/app/a", 0); armed {
		t.Error("a read without a waiter sets a watch")
	}
	first, second := b.watch("/a", false), b.watch("/a", false)
	if armed, _ := b.read(wire.OpGetChildren2, "/app/a", 0); armed {
		t.Error("a list sets a watch on data")
	}
	if armed, _ := b.read(wire.OpGetData, "/app/a", 0); !armed {
		t.Error("the first read with a waiter sets no watch")
	}
	if armed, _ := b.read(wire.OpGetData, "/app/a", 0); armed {
		t.Error("a second read sets the watch again")
	}
	first.Stop()
	if len(b.removals) != 0 {
		t.Error("the watch is removed while a waiter is left")
	}
	second.Stop()
	third := b.watch("/a", false)
	if armed, removals := b.read(wire.OpExists, "/app/a", 0); !armed || removals != 1 {
		t.Errorf("the next read sets a watch: %v, after %d removals; want true, after 1", armed, removals)
	}
	b.event(zk.EventNodeDataChanged, "/app/a")
	if ev := <-third.C; ev.Path != "/a" || ev.Type != zk.EventNodeDataChanged || len(b.watches) != 0 {
		t.Errorf("got the event %+v with %d watches left, want a change of the data of /a with none", ev, len(b.watches))
	}
}

// If the last waiter stops while a read is in progress, no watch remains. A read that failed has
// set no watch, except an exists of a missing znode.
//
// Covers S6.
func TestRegistryRemovesWhatAReadUnderWaySets(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		op       wire.Op
		code     wire.Code
		removals bool
	}{
		{wire.OpGetData, 0, true}, {wire.OpGetData, wire.NoNode, false},
		{wire.OpExists, wire.NoNode, true}, {wire.OpExists, wire.NoAuth, false},
		{wire.OpGetChildren2, 0, true}, {wire.OpGetChildren2, wire.NoNode, false},
	} {
		b.removals = nil
		w := b.watch("/a", test.op == wire.OpGetChildren2)
		_, path := b.sending(test.op, b.begin(test.op, "/app/a"))
		w.Stop()
		if len(b.removals) != 0 {
			t.Errorf("%v: the watch is removed before the read that sets it was answered", test.op)
		}
		b.answered(test.op, path, test.code)
		if (len(b.removals) > 0) != test.removals || len(b.watches) != 0 {
			t.Errorf("%v, %v: got %d removals and %d watches, want removals: %v, and no watch", test.op, test.code, len(b.removals), len(b.watches), test.removals)
		}
	}
}

// A removal that a busy server refused is sent again, unless somebody waits for the path again. All
// removals have the same xid, so the registry assigns the answers to the removals in the order of
// sending.
//
// Covers S6.
func TestRegistryRepeatsRefusedRemovals(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"/a", "/b", "/c"} {
		w := b.watch(path, false)
		b.read(wire.OpExists, "/app"+path, 0)
		w.Stop()
	}
	b.read(wire.OpExists, "/app/d", 0) // sends the last removal
	again := b.watch("/c", false)
	b.read(wire.OpExists, "/app/c", 0)
	for _, code := range []wire.Code{0, wire.ThrottledOp, wire.ThrottledOp} {
		b.removed(code)
	}
	if want := []watchKey{{path: "/app/b"}}; !slices.Equal(b.removals, want) {
		t.Errorf("removals to send: got %v, want %v", b.removals, want)
	}
	again.Stop()
	if _, removals := b.read(wire.OpExists, "/app/d", 0); removals != 2 || len(b.removing) != 2 {
		t.Errorf("got %d removals with %d unanswered, want 2 with 2", removals, len(b.removing))
	}
}

// In this test the server refuses to remove a watch. By then, a new waiter waits for the same path.
// The server also refuses the new waiter's read, and the waiter stops. The registry must send the
// removal again. Regression: nothing removed the watch.
func TestRegistryRemovesAWatchThatARefusalLeft(t *testing.T) {
	b := newBench(t)
	first := b.watch("/a", false)
	b.read(wire.OpExists, "/app/a", 0)
	first.Stop()
	b.read(wire.OpExists, "/app/d", 0) // sends the removal
	again := b.watch("/a", false)
	b.removed(wire.ThrottledOp)
	b.read(wire.OpExists, "/app/a", wire.ThrottledOp)
	again.Stop()
	if want := []watchKey{{path: "/app/a"}}; !slices.Equal(b.removals, want) {
		t.Errorf("removals to send: got %v, want %v", b.removals, want)
	}
}

// The deletion of a znode fires both kinds of watches: those on its data or existence, and those on
// its children. Other events fire one kind.
//
// Covers S6.
func TestRegistryFiresWhatTheEventConcerns(t *testing.T) {
	for kind, want := range map[zk.EventType]string{
		zk.EventNodeCreated: "1 data, 0 children", zk.EventNodeDataChanged: "1 data, 0 children",
		zk.EventNodeChildrenChanged: "0 data, 1 children", zk.EventNodeDeleted: "1 data, 1 children",
	} {
		b := newBench(t)
		data, list := b.watch("/a", false), b.watch("/a", true)
		b.event(kind, "/app/a")
		if got := fmt.Sprintf("%d data, %d children", len(data.C), len(list.C)); got != want {
			t.Errorf("%v fires watches on %s, want %s", kind, got, want)
		}
	}
}

// On a new connection, the registry sets again the watches that the previous connection had. If a
// waiter stopped while there was no connection, the registry sends no removal, because the server
// has forgotten all watches of the previous connection.
//
// Covers S6.
func TestRegistrySetsWatchesAgain(t *testing.T) {
	b := newBench(t)
	b.watch("/data", false)
	b.watch("/missing", false)
	b.watch("/list", true)
	b.watch("/unread", false)
	gone := b.watch("/gone", false)
	for path, code := range map[string]wire.Code{"/app/data": 0, "/app/missing": wire.NoNode, "/app/gone": 0} {
		b.read(wire.OpExists, path, code)
	}
	b.read(wire.OpGetChildren2, "/app/list", 0)
	b.sending(wire.OpExists, b.begin(wire.OpExists, "/app/unread")) // the answer of this read is lost
	b.disconnected()
	gone.Stop()
	if len(b.removals) != 0 {
		t.Error("without a connection: got a removal queued, want none")
	}
	want := wire.AppendFrame([]byte("first"), &wire.RequestHeader{Xid: wire.XidSetWatches, Op: wire.OpSetWatches}, &wire.SetWatchesRequest{
		RelativeZxid: 7, Data: []string{"/app/data"}, Exist: []string{"/app/missing"}, Child: []string{"/app/list"},
	})
	if got := b.connected([]byte("first"), 7); string(got) != string(want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
	if armed, _ := b.read(wire.OpExists, "/app/unread", 0); !armed {
		t.Error("a read whose answer was lost counts as having set its watch")
	}
}

// The registry reports the end of the session to its current waiters and to later ones.
//
// Covers S6.
func TestRegistryEndsWithTheSession(t *testing.T) {
	b := newBench(t)
	early := b.watch("/a", false)
	b.close(ErrLost)
	late := b.watch("/b", true)
	for w, path := range map[*Watch]string{early: "/a", late: "/b"} {
		if ev := <-w.C; ev.Type != EventNotWatching || ev.Err != ErrLost || ev.Path != path {
			t.Errorf("got the event %+v, want %v of %s with %v",
				ev, EventNotWatching, path, ErrLost)
		}
	}
	if len(b.watches) != 0 {
		t.Errorf("got %d watches after the end, want none", len(b.watches))
	}
}
