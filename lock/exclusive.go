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

// An Exclusive is a lock that is one ephemeral node: who created it holds it.
// It is the cheapest to try, for those who do something else if they do not
// get it. It has no order, and all who wait for it wake when it is free: where
// many wait, use a Mutex.
type Exclusive struct {
	session *session.Session
	path    string
	label   string
	invalid error // of the constructor's arguments
}

// NewExclusive returns the lock that is the node at path. No request is made. An
// invalid path or option is an error of each call, session.ErrInvalid.
func NewExclusive(s *session.Session, path string, o Options) *Exclusive {
	return &Exclusive{session: s, path: path, label: o.Label, invalid: o.checkPlain("an Exclusive", path)}
}

// Lock waits for the lock. If ctx ends first, or on any other error, nothing
// is held and no znode remains. It fails with ErrNotALock if there is a znode at the
// path that is not ephemeral.
func (e *Exclusive) Lock(ctx context.Context) (_ *Grant, err error) {
	ctx, done := recipe.Acquire(ctx, e.session, "lock", e.path)
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

// TryLock is Lock, but fails with ErrLocked if somebody holds the lock.
func (e *Exclusive) TryLock(ctx context.Context) (_ *Grant, err error) {
	ctx, done := recipe.Acquire(ctx, e.session, "lock", e.path)
	defer func() { done(err) }()
	return e.try(ctx)
}

func (e *Exclusive) try(ctx context.Context) (*Grant, error) {
	if e.invalid != nil {
		return nil, e.wrap(e.invalid)
	}
	// The id tells this call's node from that of another call in the same
	// session.
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

// create makes the node, or recognises it after a lost reply. With an error, unsure
// says that the node may have been made.
func (e *Exclusive) create(ctx context.Context, data []byte) (node recipe.Node, unsure bool, err error) {
	for {
		err := recipe.WithParents(ctx, e.session, e.path, func(ctx context.Context) error {
			_, err := e.session.Create(ctx, e.path, data, session.Ephemeral)
			return err
		})
		effect := session.OutcomeOf(err)
		switch {
		case effect == session.Failed && session.ConnectionLost(err) && ctx.Err() == nil:
			continue // It was not sent before its connection was lost.
		case effect == session.Failed && !errors.Is(err, session.ErrNodeExists):
			return node, false, err
		case effect == session.Indeterminate && ctx.Err() != nil:
			return node, true, err
		}
		node, look := e.look(ctx, data, effect == session.Indeterminate)
		switch {
		case node.Path != "" || errors.Is(look, ErrLocked):
			return node, false, look
		case look != nil:
			return node, effect != session.Failed, look
		case effect == session.Indeterminate && !session.ConnectionLost(err):
			return node, false, err // an answer that proved nothing, until now
		}
	}
}

// look is find that is final also after a lost reply: what is lost with its
// connection is applied by the end of ReadBarrier, or never.
func (e *Exclusive) look(ctx context.Context, data []byte, lost bool) (recipe.Node, error) {
	if lost {
		if err := recipe.ReadBarrier(ctx, e.session, e.path); err != nil {
			return recipe.Node{}, err
		}
	}
	return e.find(ctx, data)
}

// owned reports whether a znode is ephemeral. Of a container, and of a znode with a
// time to live, the owner is a number that no session has.
func owned(stat *session.Stat) bool {
	owner := stat.EphemeralOwner
	return owner != 0 && owner != math.MinInt64 && uint64(owner)>>56 != 0xff
}

// find returns the node if it is that of the call with the given data, none
// if there is none, ErrLocked if it is somebody else's, and ErrNotALock if it is
// nobody's.
func (e *Exclusive) find(ctx context.Context, data []byte) (recipe.Node, error) {
	value, err := e.session.Get(ctx, e.path)
	switch {
	case errors.Is(err, session.ErrNoNode):
		return recipe.Node{}, nil
	case err != nil:
		return recipe.Node{}, err
	case !owned(value.Stat):
		return recipe.Node{}, fmt.Errorf("%w: %s", ErrNotALock, e.path)
	case value.Stat.EphemeralOwner != e.session.ID() || string(value.Data) != string(data):
		return recipe.Node{}, ErrLocked
	}
	return recipe.Node{Path: e.path, Czxid: value.Stat.Czxid}, nil
}

// undo deletes the node if a call that failed made it.
func (e *Exclusive) undo(data []byte) {
	recipe.RemoveFound(e.session, func(ctx context.Context) (recipe.Node, error) {
		node, err := e.look(ctx, data, true)
		if errors.Is(err, ErrLocked) || errors.Is(err, ErrNotALock) {
			return recipe.Node{}, nil
		}
		return node, err
	})
}

// await waits until the node goes. It has no children, so a watch on them fires
// only then, and not for each transaction of the holder, which sets its data.
func (e *Exclusive) await(ctx context.Context) error {
	_, w, err := e.session.ChildrenWatch(ctx, e.path)
	if errors.Is(err, session.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = w.Wait(ctx)
	return err
}

// Holder is who holds the lock, as far as the server asked knows; false if
// nobody does.
func (e *Exclusive) Holder(ctx context.Context) (Contender, bool, error) {
	if e.invalid != nil {
		return Contender{}, false, fmt.Errorf("lock: holder of %s: %w", e.path, e.invalid)
	}
	value, err := e.session.Get(ctx, e.path)
	if errors.Is(err, session.ErrNoNode) {
		return Contender{}, false, nil
	}
	if err == nil && !owned(value.Stat) {
		err = ErrNotALock
	}
	if err != nil {
		return Contender{}, false, fmt.Errorf("lock: holder of %s: %w", e.path, err)
	}
	_, label, _ := strings.Cut(string(value.Data), " ")
	return Contender{Path: e.path, Label: label, Session: value.Stat.EphemeralOwner, Holds: true}, true, nil
}

func (e *Exclusive) wrap(err error) error {
	return fmt.Errorf("lock: acquire %s: %w", e.path, err)
}
