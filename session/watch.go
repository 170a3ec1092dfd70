package session

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// Watches are the session's, not the client's: go-zookeeper keeps one channel
// a call for as long as the znode does not change, forgets to say when it
// could not set them again, and cannot remove them. So the session marks the
// client's plain reads as watching while they are sent, hands out the events,
// sets the watches again on each new connection, and removes those that
// nobody waits for any more.

// A Watch waits for one event of a znode, as ZooKeeper's watches do.
type Watch struct {
	// C gives one event and is then closed. When the session ends first the
	// event is EventNotWatching with the cause. A watch can fire without
	// a change that its own read did not show already, since watches on one
	// path share what the server keeps; it never misses one.
	C <-chan Event

	ch  chan zk.Event
	s   *Session
	key watchKey
}

// A watchKey is what a server keeps at most one watch a session for. What
// exists and getData watch is the same to it.
type watchKey struct {
	path     string
	children bool
}

// watched are the watches on one key.
type watched struct {
	waiting []waiter // each once, in the order of asking
	armed   int      // reads under way that set the watch
	set     bool     // the server has it
	missing bool     // it was set on a znode that did not exist
}

// A waiter receives one event of a key: a Watch or a watchSet. It is called
// with mu held.
type waiter interface {
	fire(key watchKey, ev zk.Event)
}

func watchable(op wire.Op) bool {
	return op == wire.OpExists || op == wire.OpGetData || op == wire.OpGetChildren2
}

// watch registers a watch; the next read of the kind sets it. Stop ends it.
func (s *Session) watch(path string, children bool) *Watch {
	ch := make(chan zk.Event, 1)
	w := &Watch{C: ch, ch: ch, s: s, key: watchKey{path, children}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Err(); err != nil {
		w.fire(w.key, zk.Event{Type: zk.EventNotWatching, State: zk.StateDisconnected, Path: s.outer(path), Err: err})
		return w
	}
	s.awaitLocked(w.key, w)
	return w
}

func (w *Watch) fire(_ watchKey, ev zk.Event) {
	w.ch <- ev
	close(w.ch)
}

// Wait waits for the event. If ctx ends first, the watch is stopped, and the error is
// the cause of ctx. If the session ends first, the event is EventNotWatching, and the
// error is the cause.
func (w *Watch) Wait(ctx context.Context) (Event, error) {
	select {
	case event := <-w.C:
		return event, event.Err
	case <-ctx.Done():
		w.Stop()
		return Event{}, causeOf(ctx)
	}
}

// Stop ends the watch. With the last one on a path, the server is told to
// forget it. Stopping one that has fired does nothing.
func (w *Watch) Stop() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.dropLocked(w.key, w)
}

// awaitLocked adds a waiter, which must not be there yet.
func (s *Session) awaitLocked(key watchKey, w waiter) {
	on := s.watches[key]
	if on == nil {
		on = &watched{}
		s.watches[key] = on
	}
	on.waiting = append(on.waiting, w)
}

// dropLocked takes a waiter away, if it is still there.
func (s *Session) dropLocked(key watchKey, w waiter) {
	on := s.watches[key]
	if on == nil {
		return
	}
	i := slices.Index(on.waiting, w)
	if i < 0 {
		return
	}
	on.waiting = slices.Delete(on.waiting, i, i+1)
	if len(on.waiting) == 0 && on.armed == 0 {
		s.forgetLocked(key, on)
	}
}

// forgetLocked drops a watch, at the server too if it has it. A read that
// sets it anew can only be sent later, so this frame cannot undo that.
func (s *Session) forgetLocked(key watchKey, on *watched) {
	delete(s.watches, key)
	if !on.set || s.current == nil {
		return
	}
	kind := wire.WatcherData
	if key.children {
		kind = wire.WatcherChildren
	}
	s.queueLocked(wire.RequestHeader{Xid: xidRemoveWatches, Op: wire.OpRemoveWatches},
		&wire.WatchesRequest{Path: key.path, Type: kind})
}

// armLocked marks the read p of path as watching if somebody waits there and
// the server does not have the watch yet. The flag is a read's last byte.
func (s *Session) armLocked(p *packet, path string, body []byte) {
	on := s.watches[watchKey{path, p.op == wire.OpGetChildren2}]
	if on == nil || on.set {
		return
	}
	body[len(body)-1] = 1
	p.path, p.watching = path, true
	on.armed++
}

// armedLocked takes the answer to a read that was to set a watch.
func (s *Session) armedLocked(path string, op wire.Op, code wire.Code) {
	key := watchKey{path, op == wire.OpGetChildren2}
	on := s.watches[key]
	if on == nil || on.armed == 0 {
		return
	}
	on.armed--
	if code == 0 || code == wire.NoNode && op == wire.OpExists {
		on.set, on.missing = true, code != 0
	}
	if len(on.waiting) == 0 && on.armed == 0 {
		s.forgetLocked(key, on)
	}
}

// notifyLocked hands an event of the server to those who wait for it.
func (s *Session) notifyLocked(body []byte) error {
	var event wire.WatcherEvent
	if _, err := wire.Decode(body, &event); err != nil {
		return err
	}
	ev := zk.Event{Type: zk.EventType(event.Type), State: zk.State(event.State), Path: event.Path}
	if ev.Type != zk.EventNodeChildrenChanged {
		s.fireLocked(watchKey{event.Path, false}, ev)
	}
	if ev.Type == zk.EventNodeChildrenChanged || ev.Type == zk.EventNodeDeleted {
		s.fireLocked(watchKey{event.Path, true}, ev)
	}
	return nil
}

// fireLocked fires the watches on key, if the server had one. Reads under way
// set a new one, for whoever registers before they are answered; else it is
// removed again.
func (s *Session) fireLocked(key watchKey, ev zk.Event) {
	on := s.watches[key]
	if on == nil {
		return
	}
	ev.Path = s.outer(ev.Path)
	on.fire(key, ev)
	on.set = false
	if on.armed == 0 {
		delete(s.watches, key)
	}
}

func (on *watched) fire(key watchKey, ev zk.Event) {
	waiting := on.waiting
	on.waiting = nil
	for _, w := range waiting {
		w.fire(key, ev)
	}
}

// disarmLocked notes that reads under way will not be answered.
func (s *Session) disarmLocked() {
	for key, on := range s.watches {
		on.armed = 0
		if len(on.waiting) == 0 {
			delete(s.watches, key)
		}
	}
}

// setWatchesSize bounds the paths in one setWatches request, in bytes: well
// below what servers accept.
const setWatchesSize = 128 << 10

// appendWatchesLocked appends the requests that set the watches again. The
// server fires at once those whose znode changed after the last reply to this
// session. The zxid of an event will not do: the same transaction may have had
// other events, which the connection lost. They are in the order of their paths: what a session
// sends is a function of what it was told, not of a map.
func (s *Session) appendWatchesLocked(out []byte) []byte {
	r := &wire.SetWatchesRequest{RelativeZxid: s.lastZxid}
	size := 0
	flush := func() {
		if size > 0 {
			out = wire.AppendFrame(out, &wire.RequestHeader{Xid: wire.XidSetWatches, Op: wire.OpSetWatches}, r)
			*r, size = wire.SetWatchesRequest{RelativeZxid: s.lastZxid}, 0
		}
	}
	byPath := func(a, b watchKey) int {
		if a.path == b.path && a.children {
			return 1
		}
		return strings.Compare(a.path, b.path)
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.watches), byPath) {
		on := s.watches[key]
		switch {
		case !on.set:
			continue
		case key.children:
			r.Child = append(r.Child, key.path)
		case on.missing:
			r.Exist = append(r.Exist, key.path)
		default:
			r.Data = append(r.Data, key.path)
		}
		if size += len(key.path) + 4; size > setWatchesSize {
			flush()
		}
	}
	flush()
	return out
}
