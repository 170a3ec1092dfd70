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
	if _, err := c.settle(ctx); err != nil {
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
	for {
		if err := context.Cause(c.Context()); err != nil {
			return nil, c.refused(err)
		}
		results, err := c.session.Multi(ctx, all...)
		switch outcome := session.OutcomeOf(err); {
		case outcome == session.OK:
			c.applied(then)
			return results[len(guard):], nil
		case outcome == session.Failed && session.ConnectionLost(err):
			continue // It was not sent before its connection was lost.
		case outcome == session.Failed:
			return nil, c.unguarded(err, len(guard))
		}
		c.doubt = &doubt{then}
		applied, unsettled := c.settle(ctx)
		switch {
		case unsettled != nil:
			return nil, err
		case applied:
			return make([]session.OpResult, len(ops)), nil
		case !session.ConnectionLost(err):
			return nil, c.refused(err) // an answer that proved nothing, until now
		}
	}
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
func (c *Place) settle(ctx context.Context) (applied bool, err error) {
	if c.doubt == nil {
		return false, nil
	}
	// ReadBarrier, so that the answer is final: it comes behind the transaction on
	// the same connection, and after the loss of that the leader takes
	// nothing more from it.
	if err := c.session.Retry(ctx, func(ctx context.Context) error {
		if err := recipe.ReadBarrier(ctx, c.session, c.Node().Path); err != nil {
			return err
		}
		applied, err = c.marked(ctx)
		return err
	}); err != nil {
		return false, err
	}
	then := c.doubt.then
	c.doubt = nil
	if applied {
		c.applied(then)
	}
	return applied, nil
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
