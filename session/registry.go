package session

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A watchRegistry manages the watches of a session, so that go-zookeeper has none. go-zookeeper
// cannot remove a watch, keeps one channel for each call until the znode changes, and does not
// report when it could not set the watches again.
//
// Therefore the session makes plain reads, and the registry sets the watch flag in the frame of a
// read before the frame is sent. The registry delivers the events. It also prepares the frames that
// set the watches again on a new connection, and the frames that remove watches for which nobody
// waits. The connections send these frames.
type watchRegistry struct {
	root chroot

	mu       sync.Mutex
	over     error // why the session has ended
	online   bool  // there is a connection
	watches  map[watchKey]*watched
	removals []watchKey // watches to remove at the server, before the next frame
	removing []watchKey // watches whose removal was sent and not answered, in the order of sending
}

// A watchKey identifies a watch at the server. The server keeps at most one watch for each key and
// session. The watches of exists and getData have the same key.
type watchKey struct {
	path     string // the path that the server knows
	children bool
}

// A watched is the state of the watches with one key.
type watched struct {
	waiting []waiter // without duplicates, in the order of their registration
	armed   int      // number of reads in progress that set the watch
	set     bool     // the server has the watch
	missing bool     // the server's watch was set on a znode that did not exist
	left    bool     // the server may have an earlier watch, whose removal it refused
}

// A waiter receives one event of a key. It is a Watch or a watchSet. The registry calls fire while
// it holds mu.
type waiter interface {
	fire(key watchKey, ev zk.Event)
}

func newWatchRegistry(root chroot) *watchRegistry {
	return &watchRegistry{root: root, watches: make(map[watchKey]*watched)}
}

// addLocked adds a waiter, which must not be registered yet. If the session has ended, the waiter
// gets its event at once.
func (r *watchRegistry) addLocked(key watchKey, w waiter) {
	if r.over != nil {
		w.fire(key, r.notWatching(key))
		return
	}
	on := r.watches[key]
	if on == nil {
		on = &watched{}
		r.watches[key] = on
	}
	on.waiting = append(on.waiting, w)
}

// dropLocked removes a waiter if it is registered.
func (r *watchRegistry) dropLocked(key watchKey, w waiter) {
	on := r.watches[key]
	if on == nil {
		return
	}
	i := slices.Index(on.waiting, w)
	if i < 0 {
		return
	}
	on.waiting = slices.Delete(on.waiting, i, i+1)
	if len(on.waiting) == 0 && on.armed == 0 {
		r.forgetLocked(key, on)
	}
}

// forgetLocked removes a watch from the registry, and also from the server if the server has the
// watch. The removal does not affect a read that sets the watch again, because such a read can only
// be sent after the removal.
func (r *watchRegistry) forgetLocked(key watchKey, on *watched) {
	delete(r.watches, key)
	if (on.set || on.left) && r.online {
		r.removals = append(r.removals, key)
	}
}

// flushLocked returns the frames that remove watches.
func (r *watchRegistry) flushLocked() (frames []byte) {
	for _, key := range r.removals {
		kind := wire.WatcherData
		if key.children {
			kind = wire.WatcherChildren
		}
		frames = wire.AppendFrame(frames, &wire.RequestHeader{Xid: xidRemoveWatches, Op: wire.OpRemoveWatches},
			&wire.WatchesRequest{Path: key.path, Type: kind})
	}
	r.removing = append(r.removing, r.removals...)
	r.removals = nil
	return frames
}

// The method `removed` handles the answer to the oldest removal that was not answered yet. A server
// that is too busy refuses a removal and keeps the watch. The removal is then sent again, unless
// somebody waits for the path again and so uses the server's watch.
func (r *watchRegistry) removed(code wire.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.removing) == 0 {
		return
	}
	key := r.removing[0]
	r.removing = r.removing[1:]
	switch on := r.watches[key]; {
	case code != wire.ThrottledOp:
	case on == nil:
		r.removals = append(r.removals, key)
	default:
		on.left = true
	}
}

func watchable(op wire.Op) bool {
	return op == wire.OpExists || op == wire.OpGetData || op == wire.OpGetChildren2
}

// The method `sending` is called with each request before the request is written. The first result
// has the frames that remove watches; they must be sent before the request. If the request is a
// read of a path for which somebody waits, and the server does not have the watch yet, `sending`
// sets the read's watch flag. Then the second result is the path; otherwise it is empty.
//
// One call does both, because a frame that removes a watch must not be sent after the read that
// sets the same watch again. If there were two calls, the last waiter for a path could stop between
// them, and a new waiter could register for the same path. The second call would then set the flag
// for the new waiter, and the removal of the old watch would be sent only after this read.
func (r *watchRegistry) sending(op wire.Op, body []byte) (first []byte, armed string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = r.flushLocked()
	if !watchable(op) || len(r.watches) == 0 {
		return first, ""
	}
	path := wire.FirstPath(op, body)
	on := r.watches[watchKey{path, op == wire.OpGetChildren2}]
	if on == nil || on.set {
		return first, ""
	}
	body[len(body)-1] = 1 // the flag is the last byte of a read
	on.armed++
	return first, path
}

// The method `answered` handles the answer to a read that sets a watch.
func (r *watchRegistry) answered(op wire.Op, path string, code wire.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := watchKey{path, op == wire.OpGetChildren2}
	on := r.watches[key]
	if on == nil || on.armed == 0 {
		return
	}
	on.armed--
	if code == 0 || code == wire.NoNode && op == wire.OpExists {
		on.set, on.missing = true, code != 0
	}
	if len(on.waiting) == 0 && on.armed == 0 {
		r.forgetLocked(key, on)
	}
}

// The method `notified` delivers an event from the server to the event's waiters.
func (r *watchRegistry) notified(body []byte) error {
	var event wire.WatcherEvent
	if _, err := wire.Decode(body, &event); err != nil {
		return err
	}
	ev := zk.Event{Type: zk.EventType(event.Type), State: zk.State(event.State), Path: r.root.outer(event.Path)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ev.Type != zk.EventNodeChildrenChanged {
		r.fireLocked(watchKey{event.Path, false}, ev)
	}
	if ev.Type == zk.EventNodeChildrenChanged || ev.Type == zk.EventNodeDeleted {
		r.fireLocked(watchKey{event.Path, true}, ev)
	}
	return nil
}

// fireLocked fires the watches on key, if there are any. Then it deletes the entry in r.watches,
// unless a read with the watch flag is in progress. The server may set a new watch for such a read.
// The entry stays because the method `answered` records the new watch in it. Waiters that register
// before the read is answered use the new watch. If there is no waiter by then, `answered` removes
// the new watch.
func (r *watchRegistry) fireLocked(key watchKey, ev zk.Event) {
	on := r.watches[key]
	if on == nil {
		return
	}
	on.fire(key, ev)
	on.set, on.left = false, false
	if on.armed == 0 {
		delete(r.watches, key)
	}
}

func (on *watched) fire(key watchKey, ev zk.Event) {
	waiting := on.waiting
	on.waiting = nil
	for _, w := range waiting {
		w.fire(key, ev)
	}
}

// The method `disconnected` records the end of the connection: reads and removals in progress will
// not be answered.
func (r *watchRegistry) disconnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.online, r.removals, r.removing = false, nil, nil
	for key, on := range r.watches {
		on.armed, on.left = 0, false
		if len(on.waiting) == 0 {
			delete(r.watches, key)
		}
	}
}

// The method `close` sends the waiters their last event, which has the cause of the session's end.
func (r *watchRegistry) close(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = cause
	for key, on := range r.watches {
		on.fire(key, r.notWatching(key))
	}
	clear(r.watches)
}

func (r *watchRegistry) notWatching(key watchKey) zk.Event {
	return zk.Event{Type: zk.EventNotWatching, State: zk.StateDisconnected, Path: r.root.outer(key.path), Err: r.over}
}

// setWatchesSize is the limit for the paths in one setWatches request, in bytes. It is far below
// the size that servers accept.
const setWatchesSize = 128 << 10

// The method `connected` appends the requests that set the watches again on a new connection. The
// server fires at once the watches whose znodes have changed since zxid, the zxid of the last reply
// to this session. The zxid of the last event would be wrong, because the previous connection may
// have ended before other events of the same transaction arrived. The watches are sorted, so that
// the requests of a session do not depend on the order of a map.
func (r *watchRegistry) connected(out []byte, zxid int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.online = true
	request := &wire.SetWatchesRequest{RelativeZxid: zxid}
	size := 0
	flush := func() {
		if size > 0 {
			out = wire.AppendFrame(out, &wire.RequestHeader{Xid: wire.XidSetWatches, Op: wire.OpSetWatches}, request)
			*request, size = wire.SetWatchesRequest{RelativeZxid: zxid}, 0
		}
	}
	byPath := func(a, b watchKey) int {
		switch {
		case a.path != b.path:
			return strings.Compare(a.path, b.path)
		case a.children == b.children:
			return 0
		case a.children:
			return 1
		}
		return -1
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.watches), byPath) {
		on := r.watches[key]
		switch {
		case !on.set:
			continue
		case key.children:
			request.Child = append(request.Child, key.path)
		case on.missing:
			request.Exist = append(request.Exist, key.path)
		default:
			request.Data = append(request.Data, key.path)
		}
		if size += len(key.path) + 4; size > setWatchesSize {
			flush()
		}
	}
	flush()
	return out
}
