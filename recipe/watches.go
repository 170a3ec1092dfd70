package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/session"
)

// Watches has watches on any number of znodes, for one goroutine that waits for all of them. It
// stores at most one event for each read, until Wait returns the event. So a slow program delays
// nobody and fills no memory. Any number of goroutines may call Get, Exists and Children, but only
// one may call Wait.
//
// A read is repeated while its error is session.Transient, for example because a server is too
// busy: see Session.Retry. Without these repetitions, a program that follows znodes for a long time
// would stop at the first such error.
type Watches struct {
	s      *session.Session
	inside engine.Watches
}

// Fired is a watch of [Watches] that has fired and no longer exists.
type Fired struct {
	Path     string
	Children bool // true for a watch of Children, false for a watch of Get or Exists
	Type     session.EventType
}

// NewWatches returns an empty set of watches, which costs nothing. The caller must Stop it.
func NewWatches(s *session.Session) *Watches {
	return &Watches{s, engine.Of(s).NewWatches()}
}

// Get is Session.Get with a watch, like Session.GetWatch.
func (w *Watches) Get(ctx context.Context, path string) (value session.Value, err error) {
	err = w.s.Retry(ctx, func(ctx context.Context) (err error) {
		value.Data, value.Stat, err = w.inside.Get(ctx, path)
		return err
	})
	return value, err
}

// Exists is Session.Exists with a watch, like Session.ExistsWatch.
func (w *Watches) Exists(ctx context.Context, path string) (stat *session.Stat, err error) {
	err = w.s.Retry(ctx, func(ctx context.Context) (err error) {
		stat, err = w.inside.Exists(ctx, path)
		return err
	})
	return stat, err
}

// Children is Session.Children with a watch, like Session.ChildrenWatch.
func (w *Watches) Children(ctx context.Context, path string) (listing session.Listing, err error) {
	err = w.s.Retry(ctx, func(ctx context.Context) (err error) {
		listing.Names, listing.Stat, err = w.inside.Children(ctx, path)
		return err
	})
	return listing, err
}

// Wait returns the watches that have fired since the last Wait, in the order of the events. It
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

// Drop ends the watch of Children on path if `children` is true, and otherwise the watch of Get and
// Exists. It has no effect on a watch that has fired.
func (w *Watches) Drop(path string, children bool) { w.inside.Drop(path, children) }

// Stop ends all watches. Do not call it while a read is in progress.
func (w *Watches) Stop() { w.inside.Stop() }
