package session

import (
	"context"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
)

// A watchSet has watches on any number of znodes, for one goroutine that waits for all of them. It
// stores at most one event for each read, until Wait returns the event. So a slow program delays
// nobody and fills no memory.
//
// Any number of goroutines may read, but only one may call Wait.
type watchSet struct {
	s    *Session
	r    *watchRegistry
	more chan struct{} // contains a token when a watch may have fired

	// Guarded by the registry's mu.
	waits map[watchKey]*int // number of reads that need each watch, in progress or answered
	fired []engine.Fired
}

// newWatches returns an empty set of watches, which costs nothing. The caller must Stop it.
func (s *Session) newWatches() *watchSet {
	return &watchSet{s: s, r: s.watches, more: make(chan struct{}, 1), waits: make(map[watchKey]*int)}
}

// Get is [Session.Get] with a watch like that of [Session.GetWatch].
func (w *watchSet) Get(ctx context.Context, path string) ([]byte, *Stat, error) {
	wants := w.await(path, false)
	value, err := w.s.Get(ctx, path)
	if err != nil {
		w.unwant(path, false, wants)
	}
	return value.Data, value.Stat, err
}

// Exists is [Session.Exists] with a watch like that of [Session.ExistsWatch].
func (w *watchSet) Exists(ctx context.Context, path string) (*Stat, error) {
	wants := w.await(path, false)
	stat, err := w.s.Exists(ctx, path)
	if err != nil {
		w.unwant(path, false, wants)
	}
	return stat, err
}

// Children is [Session.Children] with a watch like that of [Session.ChildrenWatch].
func (w *watchSet) Children(ctx context.Context, path string) ([]string, *Stat, error) {
	wants := w.await(path, true)
	listing, err := w.s.Children(ctx, path)
	if err != nil {
		w.unwant(path, true, wants)
	}
	return listing.Names, listing.Stat, err
}

// Wait returns the watches that have fired since its last call, in the order of the events. It
// blocks until there is at least one. If ctx or the session ends first, it returns the cause.
func (w *watchSet) Wait(ctx context.Context) ([]engine.Fired, error) {
	for {
		if err := w.s.Err(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, causeOf(ctx)
		}
		// The set is checked before the wait. An earlier Wait may have received the token from
		// w.more and then failed, because its ctx had ended. Then the set has watches that fired,
		// although w.more has no token.
		if fired := w.take(); len(fired) > 0 {
			return fired, nil
		}
		select {
		case <-w.more:
		case <-ctx.Done():
		case <-w.s.Done():
		}
	}
}

func (w *watchSet) take() []engine.Fired {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	fired := w.fired
	w.fired = nil
	return fired
}

func (w *watchSet) await(path string, children bool) (wants *int) {
	key := watchKey{w.r.root.inner(path), children}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if wants = w.waits[key]; wants == nil {
		wants = new(int)
		w.waits[key] = wants
		w.r.addLocked(key, w)
	}
	*wants++
	return wants
}

// unwant is called after a failed read. It ends the read's watch if no other read needs the watch
// and the watch has not fired.
func (w *watchSet) unwant(path string, children bool, wants *int) {
	key := watchKey{w.r.root.inner(path), children}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.waits[key] != wants {
		return
	}
	if *wants--; *wants == 0 {
		delete(w.waits, key)
		w.r.dropLocked(key, w)
	}
}

// Drop ends a watch on a path unless the watch has fired. If children is true, Drop ends the watch
// that Children sets. Otherwise, Drop ends the watch that Get and Exists set.
func (w *watchSet) Drop(path string, children bool) {
	key := watchKey{w.r.root.inner(path), children}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	delete(w.waits, key)
	w.r.dropLocked(key, w)
}

// Stop ends all watches. Do not call it while a read is in progress.
func (w *watchSet) Stop() {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	for key := range w.waits {
		w.r.dropLocked(key, w)
	}
	clear(w.waits)
	w.fired = nil
}

func (w *watchSet) fire(key watchKey, ev zk.Event) {
	delete(w.waits, key)
	if ev.Type != zk.EventNotWatching {
		w.fired = append(w.fired, engine.Fired{Path: ev.Path, Children: key.children, Type: ev.Type})
	}
	signal(w.more)
}
