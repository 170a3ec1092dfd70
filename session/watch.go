package session

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"
)

// A Watch waits for one event of a znode, like ZooKeeper's watches.
type Watch struct {
	// C delivers one event and is then closed. If the session ends first, the event is
	// EventNotWatching, and the event's Err is the cause. A Watch never misses a change. But a
	// Watch can also fire for a change that is already in the result of the read that created the
	// Watch. The reason is that all Watches on one path share one watch at the server, which
	// another Watch may have set before that change.
	C <-chan Event

	ch       chan zk.Event
	registry *watchRegistry
	key      watchKey
}

// The method `watch` registers a Watch of a path. If the server does not have the watch yet, the
// next read of the path sets it: a read of the znode's children if `children` is true, and
// otherwise a read of the znode's data or existence. Stop ends the Watch.
func (r *watchRegistry) watch(path string, children bool) *Watch {
	return r.watchKey(watchKey{r.root.inner(path), children})
}

// watchKey is like `watch`. The path of key is the one that the server knows.
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

var errDelivered = errors.New("session: wait for an event of a watch that has already delivered it")

// Wait waits for the event. If ctx ends first, Wait stops the watch and returns the cause of ctx.
// If the session ends first, the event is EventNotWatching, and the error is the cause. Wait fails
// at once if the event was already delivered, by C or by another Wait.
func (w *Watch) Wait(ctx context.Context) (Event, error) {
	select {
	case event, ok := <-w.C:
		if !ok {
			return Event{}, errDelivered
		}
		return event, event.Err
	case <-ctx.Done():
		w.Stop()
		return Event{}, causeOf(ctx)
	}
}

// Stop ends the Watch. All Watches on one path share one watch at the server. When the last of them
// ends, the session removes the shared watch. Stop does nothing if the Watch has fired.
func (w *Watch) Stop() {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.dropLocked(w.key, w)
}
