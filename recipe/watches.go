package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// Watches has watches on any number of znodes, for one goroutine that waits for all of them. It
// stores each event until Wait returns it, at most one for each read. So a slow program delays
// nobody and fills no memory.
//
// Any number of goroutines may read, but only one may call Wait.
type Watches struct{ inside engine.Watches }

// Fired is a watch of [Watches] that has fired and no longer exists.
type Fired struct {
	Path     string
	Children bool // the watch of Children; otherwise that of Get and Exists
	Type     session.EventType
}

// NewWatches returns an empty set of watches, which costs nothing. The caller must Stop it.
func NewWatches(s *session.Session) *Watches { return &Watches{engine.Of(s).NewWatches()} }

// Get is Session.Get with a watch, like Session.GetWatch.
func (w *Watches) Get(ctx context.Context, path string) (session.Value, error) {
	data, stat, err := w.inside.Get(ctx, path)
	return session.Value{Data: data, Stat: stat}, err
}

// Exists is Session.Exists with a watch, like Session.ExistsWatch.
func (w *Watches) Exists(ctx context.Context, path string) (*session.Stat, error) {
	return w.inside.Exists(ctx, path)
}

// Children is Session.Children with a watch, like Session.ChildrenWatch.
func (w *Watches) Children(ctx context.Context, path string) (session.Listing, error) {
	names, stat, err := w.inside.Children(ctx, path)
	return session.Listing{Names: names, Stat: stat}, err
}

// Wait returns the watches that have fired since its last call, in the order of the events. It
// blocks until there is at least one. If ctx or the session ends first, it returns the cause.
func (w *Watches) Wait(ctx context.Context) ([]Fired, error) {
	events, err := w.inside.Wait(ctx)
	if err != nil {
		return nil, err
	}
	fired := make([]Fired, len(events))
	for i, ev := range events {
		fired[i] = Fired(ev)
	}
	return fired, nil
}

// Drop ends a watch on a path unless the watch has fired. If children is true, it is the watch of
// Children, otherwise that of Get and Exists.
func (w *Watches) Drop(path string, children bool) { w.inside.Drop(path, children) }

// Stop ends all watches. No read may be in progress.
func (w *Watches) Stop() { w.inside.Stop() }
