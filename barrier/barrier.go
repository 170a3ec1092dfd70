package barrier

import (
	"context"
	"fmt"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Barrier blocks waiters while it is set. It is the recipe "Barriers" of
// ZooKeeper's documentation. It is safe for concurrent use.
type Barrier struct {
	s       *session.Session
	path    string
	invalid error // set if the path is invalid
}

// New returns the barrier at path. It sends no request. If path is invalid,
// each call returns an error that wraps session.ErrInvalid.
func New(s *session.Session, path string) *Barrier {
	return &Barrier{s, path, session.CheckPath(path)}
}

// Set sets the barrier. It succeeds if the barrier is already set. After an error,
// session.OutcomeOf says whether the barrier may have been set. If a reply is lost, Set sends the
// request again. So if another client has removed the barrier meanwhile, Set may set it a second
// time.
func (b *Barrier) Set(ctx context.Context) error {
	if b.invalid != nil {
		return fmt.Errorf("barrier: set %s: %w", b.path, b.invalid)
	}
	if err := recipe.Ensure(ctx, b.s, b.path, nil, session.Persistent); err != nil {
		return fmt.Errorf("barrier: set %s: %w", b.path, err)
	}
	return nil
}

// Remove removes the barrier, so that all waiters continue. It succeeds if the barrier is not set.
// After an error, session.OutcomeOf says whether the barrier may be gone. If another client sets
// the barrier again after the removal, that barrier stays, even if a reply is lost.
func (b *Barrier) Remove(ctx context.Context) error {
	stat, err := b.stat(ctx)
	if err == nil && stat != nil {
		err = recipe.Remove(ctx, b.s, recipe.Node{Path: b.path, Czxid: stat.Czxid})
	}
	if err != nil {
		return fmt.Errorf("barrier: remove %s: %w", b.path, err)
	}
	return nil
}

// stat reads the stat of the barrier after a read barrier. It returns nil if the barrier is not
// set.
func (b *Barrier) stat(ctx context.Context) (*session.Stat, error) {
	if b.invalid != nil {
		return nil, b.invalid
	}
	if err := recipe.ReadBarrier(ctx, b.s, b.path); err != nil {
		return nil, err
	}
	return b.s.Exists(ctx, b.path)
}

// Wait returns nil as soon as the barrier is not set. It returns an error if ctx or the session
// ends first, or if a server refuses a request for good.
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
		var stat *session.Stat
		var w *session.Watch
		err := b.s.Retry(ctx, func(ctx context.Context) (err error) {
			stat, w, err = b.s.ExistsWatch(ctx, b.path)
			return err
		})
		if err != nil {
			return err
		}
		// If this znode is not the one that the first read found, the barrier was removed and set
		// again while there was no watch.
		if stat == nil || stat.Czxid != first.Czxid {
			w.Stop()
			return nil
		}
		event, err := w.Wait(ctx)
		if err != nil || event.Type == session.EventNodeDeleted {
			return err
		}
	}
}
