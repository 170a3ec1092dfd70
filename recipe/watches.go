package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// Watches are watches on any number of znodes that one goroutine waits for together.
// What fired is kept until Wait takes it, at most once for each read, so that a slow
// program holds nobody up and fills no memory.
//
// Reads may be made from any number of goroutines; Wait is for one.
type Watches struct{ inside engine.Watches }

// Fired is a watch of [Watches] that fired and is gone.
type Fired struct {
	Path     string
	Children bool // the watch of Children; otherwise that of Get and Exists
	Type     session.EventType
}

// NewWatches returns an empty set of watches, which costs nothing. Stop it.
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

// Wait returns what fired since it was last called, in the order of the events, as soon
// as there is anything. It fails with the cause for which ctx or the session ended.
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

// Drop ends the watch on a path that Children has set, or else that of Get and Exists,
// unless it has fired.
func (w *Watches) Drop(path string, children bool) { w.inside.Drop(path, children) }

// Stop ends all watches. No read may be under way.
func (w *Watches) Stop() { w.inside.Stop() }
