package lock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// An Exclusive is a lock that consists of one ephemeral znode. The client that created the znode
// holds the lock. An Exclusive has the cheapest TryLock of all locks, so it suits clients that do
// other work if they do not get the lock. Waiting clients are served in no particular order, and a
// release wakes all of them. If many clients wait, use a Mutex.
type Exclusive struct {
	session *session.Session
	path    string
	label   string
	invalid error // an error in the constructor's arguments
}

// NewExclusive returns the lock whose znode is at path. It makes no request. If path or an option
// is invalid, each call fails with session.ErrInvalid.
func NewExclusive(s *session.Session, path string, o Options) *Exclusive {
	return &Exclusive{session: s, path: path, label: o.Label, invalid: o.checkPlain("an Exclusive", path)}
}

// Lock waits for the lock. If ctx ends first, or on any other error, nothing is held and no znode
// remains. Lock fails with ErrNotALock if the znode at the lock's path is not ephemeral.
func (e *Exclusive) Lock(ctx context.Context) (_ *Grant, err error) {
	ctx, done := recipe.TraceAcquire(ctx, e.session, "lock", e.path)
	defer func() { done(err) }()
	if holds(ctx, e.session, e.path) {
		return nil, e.wrap(ErrDeadlock)
	}
	for {
		grant, err := e.try(ctx)
		if !errors.Is(err, ErrLocked) {
			return grant, err
		}
		if err := e.await(ctx); err != nil {
			return nil, e.wrap(err)
		}
	}
}

// TryLock is like Lock, but fails with ErrLocked if the lock is held, even by the same session.
func (e *Exclusive) TryLock(ctx context.Context) (_ *Grant, err error) {
	ctx, done := recipe.TraceAcquire(ctx, e.session, "lock", e.path)
	defer func() { done(err) }()
	return e.try(ctx)
}

func (e *Exclusive) try(ctx context.Context) (*Grant, error) {
	if e.invalid != nil {
		return nil, e.wrap(e.invalid)
	}
	// The ID distinguishes this call's znode from that of another call in the same session.
	data := []byte(recipe.NewID(e.session) + " " + e.label)
	node, unsure, err := e.create(ctx, data)
	if unsure {
		e.undo(data)
	}
	switch {
	case errors.Is(err, ErrLocked):
		return nil, err
	case err != nil:
		return nil, e.wrap(err)
	}
	claim := lockqueue.NewFixedPlace(e.session, node, data)
	claim.Describe("lock")
	if err := claim.Grant(ctx); err != nil {
		claim.Abandon(ctx, err)
		return nil, e.wrap(err)
	}
	return newGrant(ctx, claim, e.path), nil
}

// create creates the znode. If the reply is lost, create finds out whether it has created the
// znode. If err is not nil, the result `unsure` reports whether the failed call may have created
// the znode.
func (e *Exclusive) create(ctx context.Context, data []byte) (node recipe.Node, unsure bool, err error) {
	for {
		err := recipe.Once(ctx, e.session, e.path, func(ctx context.Context) error {
			return recipe.WithParents(ctx, e.session, e.path, func(ctx context.Context) error {
				_, err := e.session.Create(ctx, e.path, data, session.Ephemeral)
				return err
			})
		}, func(ctx context.Context) (found bool, err error) {
			node, err = e.find(ctx, data)
			return node.Path != "", err
		})
		switch {
		case errors.Is(err, ErrLocked):
			return node, false, ErrLocked
		case err != nil && !errors.Is(err, session.ErrNodeExists):
			return node, session.OutcomeOf(err) == session.Indeterminate, err
		}
		if node.Path == "" {
			unsure = err == nil
			node, err = e.find(ctx, data)
		}
		if node.Path != "" || errors.Is(err, ErrLocked) {
			return node, false, err
		}
		if err != nil {
			return node, unsure, err
		}
	}
}

// owned reports whether a znode is ephemeral. For a container and for a znode with a time to live,
// EphemeralOwner is not 0, but a number that no session has.
func owned(stat *session.Stat) bool {
	owner := stat.EphemeralOwner
	return owner != 0 && owner != math.MinInt64 && uint64(owner)>>56 != 0xff
}

// The method `find` returns the znode at e.path if it belongs to this session and has the given
// data, which identify one call. If there is no znode at e.path, `find` returns an empty Node. It
// fails with ErrLocked if the znode belongs to another session or call, and with ErrNotALock if the
// znode is not ephemeral.
func (e *Exclusive) find(ctx context.Context, data []byte) (recipe.Node, error) {
	value, err := e.session.Get(ctx, e.path)
	switch {
	case errors.Is(err, session.ErrNoNode):
		return recipe.Node{}, nil
	case err != nil:
		return recipe.Node{}, err
	case !owned(value.Stat):
		return recipe.Node{}, ErrNotALock
	case value.Stat.EphemeralOwner != e.session.ID() || string(value.Data) != string(data):
		return recipe.Node{}, ErrLocked
	}
	return recipe.Node{Path: e.path, Czxid: value.Stat.Czxid}, nil
}

// undo deletes the znode if a failed call created it.
func (e *Exclusive) undo(data []byte) {
	recipe.RemoveFound(e.session, func(ctx context.Context) (recipe.Node, error) {
		if err := recipe.ReadBarrier(ctx, e.session, e.path); err != nil {
			return recipe.Node{}, err
		}
		node, err := e.find(ctx, data)
		if errors.Is(err, ErrLocked) || errors.Is(err, ErrNotALock) {
			return recipe.Node{}, nil
		}
		return node, err
	})
}

// await waits until the znode is deleted. The znode has no children, so a watch on its children
// fires only when the znode is deleted. A watch on its data would also fire for each transaction of
// the holder.
func (e *Exclusive) await(ctx context.Context) error {
	var w *session.Watch
	err := e.session.Retry(ctx, func(ctx context.Context) (err error) {
		_, w, err = e.session.ChildrenWatch(ctx, e.path)
		return err
	})
	if errors.Is(err, session.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = w.Wait(ctx)
	return err
}

// Holder returns the holder of the lock, according to the server that answers. It returns false if
// no client holds the lock.
func (e *Exclusive) Holder(ctx context.Context) (Contender, bool, error) {
	if e.invalid != nil {
		return Contender{}, false, fmt.Errorf("lock: read holder of %s: %w", e.path, e.invalid)
	}
	value, err := e.session.Get(ctx, e.path)
	if errors.Is(err, session.ErrNoNode) {
		return Contender{}, false, nil
	}
	if err == nil && !owned(value.Stat) {
		err = ErrNotALock
	}
	if err != nil {
		return Contender{}, false, fmt.Errorf("lock: read holder of %s: %w", e.path, err)
	}
	_, label, _ := strings.Cut(string(value.Data), " ")
	return Contender{Path: e.path, Label: label, Session: value.Stat.EphemeralOwner, Holds: true}, true, nil
}

func (e *Exclusive) wrap(err error) error {
	return fmt.Errorf("lock: acquire %s: %w", e.path, err)
}
