package barrier

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Barrier holds everybody up who waits while it is set: the recipe
// "Barriers" of ZooKeeper's documentation. It is safe for concurrent use.
type Barrier struct {
	s       *session.Session
	path    string
	invalid error // of the path
}

// New returns the barrier at path. No request is made. An invalid path is an error of
// each call, session.ErrInvalid.
func New(s *session.Session, path string) *Barrier {
	return &Barrier{s, path, session.CheckPath(path)}
}

// Set sets the barrier. That it is set already is no error. After an error
// session.OutcomeOf tells whether it may be set. After a lost reply it asks again:
// a barrier that somebody removed meanwhile may be set a second time.
func (b *Barrier) Set(ctx context.Context) error {
	if b.invalid != nil {
		return fmt.Errorf("barrier: set %s: %w", b.path, b.invalid)
	}
	for {
		err := recipe.WithParents(ctx, b.s, b.path, func(ctx context.Context) error {
			_, err := b.s.Create(ctx, b.path, nil, session.Persistent)
			return err
		})
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists):
			return nil
		case session.ConnectionLost(err):
			continue // if it was set, the next attempt says so
		}
		return fmt.Errorf("barrier: set %s: %w", b.path, err)
	}
}

// Remove removes the barrier, and everybody who waits passes. That it is not
// set is no error. After an error session.OutcomeOf tells whether it may be gone.
// A barrier that somebody sets after the removal stays.
func (b *Barrier) Remove(ctx context.Context) error {
	stat, err := b.stat(ctx)
	if err == nil && stat != nil {
		err = b.remove(ctx, stat.Czxid)
	}
	if err != nil {
		return fmt.Errorf("barrier: remove %s: %w", b.path, err)
	}
	return nil
}

// remove deletes the node that the transaction czxid made. After a lost reply
// it looks whether that node is gone: a later one is somebody else's doing,
// and not to be deleted.
func (b *Barrier) remove(ctx context.Context, czxid int64) error {
	for {
		err := b.s.Delete(ctx, b.path, session.AnyVersion)
		switch {
		case err == nil, errors.Is(err, session.ErrNoNode):
			return nil
		case !session.ConnectionLost(err):
			return err
		}
		stat, err := b.stat(ctx)
		if err != nil {
			return err
		}
		if stat == nil || stat.Czxid != czxid {
			return nil
		}
	}
}

// stat returns the stat of the barrier as a majority knows it, nil if it is
// not set.
func (b *Barrier) stat(ctx context.Context) (*session.Stat, error) {
	if b.invalid != nil {
		return nil, b.invalid
	}
	if err := recipe.ReadBarrier(ctx, b.s, b.path); err != nil {
		return nil, err
	}
	return b.s.Exists(ctx, b.path)
}

// Wait returns nil as soon as the barrier is not set. It returns an error if
// ctx or the session ends first.
func (b *Barrier) Wait(ctx context.Context) error {
	if err := b.wait(ctx); err != nil {
		return fmt.Errorf("barrier: wait at %s: %w", b.path, err)
	}
	return nil
}

func (b *Barrier) wait(ctx context.Context) error {
	first, err := b.stat(ctx)
	if err != nil || first == nil {
		return err
	}
	for {
		stat, w, err := b.s.ExistsWatch(ctx, b.path)
		if err != nil {
			return err
		}
		// Another node than the first: it was removed and set again while no
		// watch was set.
		if stat == nil || stat.Czxid != first.Czxid {
			w.Stop()
			return nil
		}
		event, err := await(ctx, w)
		if err != nil || event.Type == session.EventNodeDeleted {
			return err
		}
	}
}

// await waits for the event of a watch.
func await(ctx context.Context, w *session.Watch) (session.Event, error) {
	select {
	case event := <-w.C:
		return event, event.Err
	case <-ctx.Done():
		w.Stop()
		return session.Event{}, context.Cause(ctx)
	}
}
