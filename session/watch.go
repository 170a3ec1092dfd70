package session

import (
	"context"

	"github.com/go-zookeeper/zk"
)

// A Watch waits for one event of a znode, as ZooKeeper's watches do.
type Watch struct {
	// C gives one event and is then closed. When the session ends first the
	// event is EventNotWatching with the cause. A watch can fire without
	// a change that its own read did not show already, since watches on one
	// path share what the server keeps; it never misses one.
	C <-chan Event

	ch       chan zk.Event
	registry *watchRegistry
	key      watchKey
}

// watch registers a watch; the next read of the kind sets it. Stop ends it.
func (r *watchRegistry) watch(path string, children bool) *Watch {
	return r.watchKey(watchKey{r.root.inner(path), children})
}

// watchKey is watch for a path that the server knows.
func (r *watchRegistry) watchKey(key watchKey) *Watch {
	ch := make(chan zk.Event, 1)
	w := &Watch{C: ch, ch: ch, registry: r, key: key}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(w.key, w)
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
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.dropLocked(w.key, w)
}
