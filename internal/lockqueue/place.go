package lockqueue

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/turn"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A Place is something that a session requests, and then holds, by means of one znode: a lock, a
// permit, or a position in a lock queue. The session holds the place once Grant has succeeded.
type Place struct {
	session *session.Session
	hold    recipe.Hold
	data    []byte // data of the znode
	token   int64
	fixed   bool // other clients use the same znode name

	// leaveOps are applied in one transaction with the deletion of the znode. The field is set
	// before Join returns the place.
	leaveOps []session.Op

	turn  turn.Turn // taken by the transaction in progress; only one runs at a time
	marks string    // path of the mark (see guard); "" if the mark is the znode's version
	txns  int32     // number of transactions applied so far
	doubt *doubt    // the last transaction, if it may have been applied but is not counted yet
}

// NewPlace returns a place for a znode that the session has created with data. The place is not
// granted yet; see Grant. Token 0 means the znode's Czxid. If a later znode can have the same path,
// node.Czxid must not be 0. Otherwise the place could mistake the later znode for its own.
func NewPlace(s *session.Session, node recipe.Node, data []byte, token int64) *Place {
	if token == 0 {
		token = node.Czxid
	}
	return &Place{session: s, hold: *recipe.NewHold(s, node), data: data, token: token}
}

// NewFixedPlace is like NewPlace, for a znode whose name other clients use too.
func NewFixedPlace(s *session.Session, node recipe.Node, data []byte) *Place {
	c := NewPlace(s, node, data, 0)
	c.fixed = true
	return c
}

// Describe sets the kind of the place, for example "lock": see recipe.Hold.Describe.
func (c *Place) Describe(name string) { c.hold.Describe(name, c.token, "") }

// Grant waits until the lease stands; see recipe.Hold.Grant.
func (c *Place) Grant(ctx context.Context) error { return c.hold.Grant(ctx) }

// Context returns a context that ends when the grant ends; see recipe.Hold.Context.
func (c *Place) Context() context.Context { return c.hold.Context() }

// Deadline returns the instant at which the context ends if no server answers until then; see
// recipe.Hold.Deadline.
func (c *Place) Deadline() time.Time { return c.hold.Deadline() }

// Node returns the znode of the place.
func (c *Place) Node() recipe.Node { return c.hold.Node() }

// Session returns the session of the znode.
func (c *Place) Session() *session.Session { return c.session }

// Token returns the fencing token. Of two grants in one lock queue, the later one has the larger
// token.
func (c *Place) Token() int64 { return c.token }

// Leave gives the place up. First the place's context ends with the given cause. If the grant had
// already ended, Leave returns the cause with which the grant ended. If ctx ends before the
// deletion of the znode is confirmed, Leave returns the cause of ctx, and the session continues to
// delete the znode. If ctx comes from Bind, the context that was passed to Bind limits the wait
// instead.
//
// If an exclusive place in a lock queue had been served, Leave leaves a release mark: one
// transaction sets the znode's data and then deletes the znode. The next contender watches the
// data. Its watch fires once, for the first of these two changes, so it reports the change of the
// data. This shows that the place had been served. When it was served, it was the first one in the
// queue, so no contender is ahead of the next one. Therefore the next contender need not list the
// contenders. If the session expires instead, the next contender's watch reports only a deletion. A
// place leaves no release mark if Naming.Silent is set, or if the queue was empty when the place
// joined and Queue.Delay is 0.
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

// Abandon gives up a place that was not granted, with the given cause. It waits until the znode is
// deleted or ctx ends. Without this wait, a later Try of the same caller could find the caller's
// old znode.
func (c *Place) Abandon(ctx context.Context, cause error) {
	c.hold.End(cause)
	select {
	case <-c.remove():
	case <-ctx.Done():
	}
}

// Close ends the place without deleting its znode, which is already gone.
func (c *Place) Close() { c.hold.End(errClosed) }

// remove deletes the znode as detached work.
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

// removeFixed waits for an earlier removal and for a transaction in progress before it deletes the
// znode. Otherwise the requests of that removal or transaction could affect a later znode with the
// same name.
func (c *Place) removeFixed(ctx context.Context) error {
	if err := c.turn.Take(ctx, ctx); err != nil {
		return err
	}
	defer c.turn.End()
	return <-recipe.Detach(c.session, func(ctx context.Context) error {
		// If another client deleted the znode, a third client's znode may have the name by now.
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

// leaveTries is how many times the transaction that leaves the release mark is tried. After that
// the znode is deleted without a mark. This is equally safe, but other contenders do not learn that
// the place had been served. With Queue.Delay, the next contender then waits for the delay.
const leaveTries = 3

// LeaveOps returns the ops that give the place up, for a caller that adds other ops to the same
// transaction. Call Close after that transaction.
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

// Downgrade converts an exclusive place, whose suffix is in Naming.Changing, into a shared one. It
// sets the znode's data for the first time, which lets the shared contenders behind the place be
// served. Its errors are those of Txn. Downgrade may be called again.
func (c *Place) Downgrade(ctx context.Context) error {
	done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c.marks == "" { // an earlier call has downgraded the place
		return nil
	}
	_, err = c.apply(ctx, func() { c.marks, c.txns = "", 1 }, session.SetOp{Path: c.Node().Path, Data: c.data, Version: 0})
	return err
}
