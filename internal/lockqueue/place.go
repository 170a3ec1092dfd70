package lockqueue

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Claim is what a session claims by one node of its own: a place in a lock queue,
// a permit, a lock. Once granted it is what a program holds.
type Place struct {
	session *session.Session
	hold    *recipe.Hold
	data    []byte // of the own node
	token   int64
	fixed   bool // others use the node's name too

	// leaveOps is what goes with the deletion of the node, in one transaction.
	// It is set before the place is given out.
	leaveOps []session.Op

	turn  chan struct{} // held by the one transaction that may run at a time
	marks string        // the node whose data takes the marks of transactions; "" for the own node's version
	txns  int32         // transactions applied so far
	doubt *doubt        // the last one, if it may have been applied and is not counted
}

// NewPlace begins a place on a node that the session made with data, under a
// name that is never used again, or with its czxid known. It is to be granted
// by Grant. The token is the czxid unless it is given.
func NewPlace(s *session.Session, node recipe.Node, data []byte, token int64) *Place {
	if token == 0 {
		token = node.Czxid
	}
	return &Place{session: s, hold: recipe.NewHold(s, node), data: data, token: token, turn: make(chan struct{}, 1)}
}

// NewFixedPlace is NewPlace for a node under a name that others use too.
func NewFixedPlace(s *session.Session, node recipe.Node, data []byte) *Place {
	c := NewPlace(s, node, data, 0)
	c.fixed = true
	return c
}

// Describe says what the place is in: see recipe.Hold.Describe.
func (c *Place) Describe(name string) { c.hold.Describe(name, c.token, "") }

// Grant waits until the lease stands; see recipe.Hold.Grant.
func (c *Place) Grant(ctx context.Context) error { return c.hold.Grant(ctx) }

// Context ends when the grant does; see recipe.Hold.Context.
func (c *Place) Context() context.Context { return c.hold.Context() }

// Deadline is when the context ends if no server is heard from; see
// recipe.Hold.Deadline.
func (c *Place) Deadline() time.Time { return c.hold.Deadline() }

// Node is the own node.
func (c *Place) Node() recipe.Node { return c.hold.Node() }

// Session is that of the node.
func (c *Place) Session() *session.Session { return c.session }

// Token grows with every grant.
func (c *Place) Token() int64 { return c.token }

// Leave gives the place up. The context ends first, with the given cause. An error means that the
// grant had ended before, which is its cause, or that ctx ended before the
// deletion of the node was confirmed: then the session goes on deleting it. With a
// context of Bind, it waits as long as the context that Bind was given.
//
// A place in a lock queue that has been served signs, if there was somebody else when
// it came: it deletes its node in a transaction that sets the node's data first.
// Whoever watches the data is told of a change where it would be told of a
// deletion if the session had expired, and so knows that this place had been
// served: nobody before it is left, and the others need not be listed again.
func (c *Place) Leave(ctx context.Context, cause error) error {
	ctx, cancel := c.Unbind(ctx)
	defer cancel()
	ended := c.hold.End(cause)
	removed := c.remove()
	if !ended {
		return context.Cause(c.Context())
	}
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Abandon gives up what was not granted, for the given reason. It waits for the
// node to be deleted while ctx lasts: else one's next try could find it there.
func (c *Place) Abandon(ctx context.Context, cause error) {
	c.hold.End(cause)
	select {
	case <-c.remove():
	case <-ctx.Done():
	}
}

// Close ends the place without deleting its node, which is gone already.
func (c *Place) Close() { c.hold.End(errClosed) }

// remove deletes the own node, however long the caller lives.
func (c *Place) remove() <-chan error {
	return recipe.Detach(c.session, func(ctx context.Context) error {
		switch {
		case c.fixed:
			return c.removeFixed(ctx)
		case len(c.leaveOps) > 0 && c.part(ctx):
			return nil
		}
		return recipe.Remove(ctx, c.session, c.Node())
	})
}

// removeFixed comes behind a transaction under way, also if that is given up
// meanwhile, and behind an earlier removal: either would do to the next one's node
// what was meant for the own.
func (c *Place) removeFixed(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-recipe.Detach(c.session, func(ctx context.Context) error {
		// Where somebody deleted the node, it may be another's by now.
		if err := c.session.Retry(ctx, func(ctx context.Context) error {
			_, err := c.own(ctx)
			return err
		}); err != nil {
			return unlessRevoked(err)
		}
		return recipe.Remove(ctx, c.session, c.Node())
	})
}

func unlessRevoked(err error) error {
	if errors.Is(err, session.ErrRevoked) {
		return nil
	}
	return err
}

// leaveTries is how often the parting transaction is tried before the node is
// just deleted, which says less to others and is as safe.
const leaveTries = 3

// LeaveOps are the ops by which the place leaves, for a transaction that does
// more. After it, call Close.
func (c *Place) LeaveOps() []session.Op {
	return append(c.leaveOps[:len(c.leaveOps):len(c.leaveOps)], session.DeleteOp{Path: c.Node().Path, Version: session.AnyVersion})
}

func (c *Place) part(ctx context.Context) bool {
	ops := c.LeaveOps()
	for range leaveTries {
		_, err := c.session.Multi(ctx, ops...)
		part := (*session.MultiError)(nil)
		if err == nil || errors.Is(err, zk.ErrNoNode) && errors.As(err, &part) && part.Path == c.Node().Path {
			return true
		}
		if session.OutcomeOf(err) == session.Failed && !session.ConnectionLost(err) {
			return false
		}
	}
	return false
}

// Downgrade turns an exclusive place into a shared one: its node's data is set
// for the first time, which lets shared ones behind it pass. It is for places
// of Naming.Changing. It fails as a transaction does, and may be called again.
func (c *Place) Downgrade(ctx context.Context) error {
	done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c.marks == "" { // an earlier call did it
		return nil
	}
	_, err = c.apply(ctx, func() { c.marks, c.txns = "", 1 }, session.SetOp{Path: c.Node().Path, Data: c.data, Version: 0})
	return err
}
