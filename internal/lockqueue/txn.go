package lockqueue

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Txn applies ops in one transaction that fails unless the place is still
// held, and answers truly whether they were applied: the transaction leaves a
// mark that tells after a lost reply.
//
// The results of ops that were applied but whose reply was lost are zero. An
// Indeterminate error is left only if ctx or the session ended, or somebody
// deleted the node.
func (c *Place) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	return c.TxnThen(ctx, nil, ops...)
}

// TxnThen is Txn, and calls then, if it is not nil, as soon as it is known that
// ops were applied, in the order of such transactions; see apply.
func (c *Place) TxnThen(ctx context.Context, then func(), ops ...session.Op) ([]session.OpResult, error) {
	done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.apply(ctx, then, ops...)
}

// A doubt is about a transaction that may have been applied.
type doubt struct {
	then func() // what follows from it if it was; may be nil
}

// begin waits for the turn to apply a transaction, until done is called. By
// then it is known what became of the ones before.
func (c *Place) begin(ctx context.Context) (done func(), err error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, c.refused(context.Cause(ctx))
	case <-c.Context().Done(): // and the turn may be the deletion's
		return nil, c.refused(context.Cause(c.Context()))
	}
	done = func() { <-c.turn }
	if err := c.settle(ctx); err != nil {
		done()
		return nil, c.refused(err)
	}
	return done, nil
}

// apply applies ops, and calls then, if it is not nil, as soon as it is known
// that they were applied: it may be a later transaction that finds out.
func (c *Place) apply(ctx context.Context, then func(), ops ...session.Op) ([]session.OpResult, error) {
	guard := c.guard()
	all := append(guard[:len(guard):len(guard)], ops...)
	results := make([]session.OpResult, len(all))
	err := recipe.Once(ctx, c.session, c.Node().Path, func(ctx context.Context) error {
		if err := context.Cause(c.Context()); err != nil {
			return c.refused(err)
		}
		given, err := c.session.Multi(ctx, all...)
		switch session.OutcomeOf(err) {
		case session.OK:
			results = given
		case session.Indeterminate:
			c.doubt = &doubt{then}
		}
		return err
	}, func(ctx context.Context) (bool, error) {
		applied, err := c.marked(ctx)
		if err == nil {
			c.doubt = nil
		}
		return applied, err
	})
	switch session.OutcomeOf(err) {
	case session.OK:
		c.applied(then)
		return results[len(guard):], nil
	case session.Failed:
		return nil, c.unguarded(err, len(guard))
	}
	return nil, err
}

func (c *Place) applied(then func()) {
	c.txns++
	if then != nil {
		then()
	}
}

// guard are the ops that fail unless the place is held, and leave the mark.
//
// The mark of an exclusive place is the directory's data, or with Line.Delay that of
// a node in it, which nobody else can set under the same guard while the place is held. Its own node's data
// must not change: see Leave. Shared places are many, so each marks its own
// node, by its version.
func (c *Place) guard() []session.Op {
	path := c.Node().Path
	if c.marks == "" {
		return []session.Op{session.SetOp{Path: path, Data: c.data, Version: c.txns}}
	}
	return []session.Op{
		session.CheckOp{Path: path, Version: session.AnyVersion},
		session.SetOp{Path: c.marks, Data: c.mark(), Version: session.AnyVersion},
	}
}

// mark is another one for each transaction that is applied.
func (c *Place) mark() []byte {
	return strconv.AppendInt([]byte(c.Node().Name()+" "), int64(c.txns), 10)
}

// settle finds out whether a transaction in doubt was applied, and counts it.
// An error says that this cannot be known.
func (c *Place) settle(ctx context.Context) error {
	if c.doubt == nil {
		return nil
	}
	applied, err := recipe.Settle(ctx, c.session, c.Node().Path, c.marked)
	if err != nil {
		return err
	}
	then := c.doubt.then
	c.doubt = nil
	if applied {
		c.applied(then)
	}
	return nil
}

// marked reports whether the mark of the next transaction has been left.
func (c *Place) marked(ctx context.Context) (bool, error) {
	if c.marks == "" {
		own, err := c.own(ctx)
		return err == nil && own > c.txns, err
	}
	dir, err := c.session.Get(ctx, c.marks)
	if err != nil {
		return false, err
	}
	if string(dir.Data) == string(c.mark()) {
		return true, nil
	}
	// Read after the mark: if the node is there, the place was held all the
	// while, and nobody else can have left a mark over its own.
	_, err = c.own(ctx)
	return false, err
}

// own returns the version of the own node, or ErrRevoked if it is gone.
func (c *Place) own(ctx context.Context) (version int32, err error) {
	node := c.Node()
	stat, err := c.session.Exists(ctx, node.Path)
	if err != nil {
		return 0, err
	}
	if stat == nil || node.Czxid != 0 && stat.Czxid != node.Czxid {
		return 0, session.ErrRevoked
	}
	return stat.Version, nil
}

// refused is the error of a transaction that was not applied.
func (c *Place) refused(cause error) error {
	return &session.RequestError{Op: "txn", Path: c.Node().Path, Outcome: session.Failed, Err: cause}
}

// Revoked ends the place, whose node is gone, or was set by somebody else.
func (c *Place) Revoked() { c.hold.End(session.ErrRevoked) }

// unguarded makes the error of a transaction speak of the caller's ops only.
func (c *Place) unguarded(err error, guards int) error {
	part := (*session.MultiError)(nil)
	switch {
	case !errors.As(err, &part):
		return err
	case part.Index >= guards:
		return c.refused(&session.MultiError{Index: part.Index - guards, Path: part.Path, Err: part.Err})
	case part.Path == c.Node().Path && (isNoNode(part) || errors.Is(part, zk.ErrBadVersion)):
		c.Revoked()
		return c.refused(session.ErrRevoked)
	}
	return c.refused(&session.RequestError{Op: "guard", Path: part.Path, Outcome: session.Failed, Err: part.Err})
}
