package lockqueue

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Txn applies ops in one transaction that fails unless the place is still held. The transaction
// leaves a mark. After a lost reply, Txn reads the mark to find out whether the ops were applied.
// If they were, the results of the ops are zero values. The error is Indeterminate only in these
// cases:
//
//   - ctx or the session ended.
//   - Another client deleted the znode.
//   - Txn could not read the mark, because of an error that is not session.Transient.
func (c *Place) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	return c.TxnThen(ctx, nil, ops...)
}

// TxnThen is like Txn. If callback is not nil, it is called when the ops are known to be applied;
// see apply. The callbacks of several transactions are called in the order of the transactions.
func (c *Place) TxnThen(ctx context.Context, callback func(), ops ...session.Op) ([]session.OpResult, error) {
	done, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.apply(ctx, callback, ops...)
}

// A doubt is a transaction that may have been applied.
type doubt struct {
	callback func() // called if the transaction was applied; may be nil
}

// begin waits for the turn to apply a transaction. When it returns without an error, the outcomes
// of all earlier transactions are known, and the caller must call `done` to end the turn.
func (c *Place) begin(ctx context.Context) (done func(), err error) {
	// The wait for the turn also ends with the place's context. A removal of the znode takes the
	// turn only after that context has ended. So while a removal has the turn, Take does not wait:
	// it returns an error at once.
	if err := c.turn.Take(ctx, c.Context()); err != nil {
		return nil, c.refused(err)
	}
	if err := c.settle(ctx); err != nil {
		c.turn.End()
		return nil, c.refused(err)
	}
	return c.turn.End, nil
}

// apply applies ops. If callback is not nil, apply calls it as soon as the ops are known to be
// applied. If only a later transaction finds out that the ops were applied, the later transaction
// calls the callback.
func (c *Place) apply(ctx context.Context, callback func(), ops ...session.Op) ([]session.OpResult, error) {
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
			c.doubt = &doubt{callback}
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
		c.applied(callback)
		return results[len(guard):], nil
	case session.Failed:
		return nil, c.unguarded(err, len(guard))
	}
	return nil, err
}

func (c *Place) applied(callback func()) {
	c.txns++
	if callback != nil {
		callback()
	}
}

// The method `guard` returns the ops with which each transaction begins. These ops fail unless the
// place is held, and they leave the transaction mark.
//
// The mark of an exclusive place is the data of the directory or, with Queue.Delay, of a znode in
// it. While the place is held, nobody else can set this mark: no other place is held, and a late
// transaction of an earlier place fails because of its guard. The data of the place's own znode
// cannot be the mark. If it were the mark, each transaction would change this data, and the next
// contender would take the change for a release mark (see Leave).
//
// The mark of a shared place is the version of its own znode, because there can be many shared
// places at once.
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

// The method `mark` returns the mark of the next transaction. Each applied transaction has a
// different mark.
func (c *Place) mark() []byte {
	return strconv.AppendInt([]byte(c.Node().Name()+" "), int64(c.txns), 10)
}

// settle finds out whether the transaction in doubt was applied. If it was, settle counts it. An
// error means that the outcome is still unknown.
func (c *Place) settle(ctx context.Context) error {
	if c.doubt == nil {
		return nil
	}
	applied, err := recipe.Settle(ctx, c.session, c.Node().Path, c.marked)
	if err != nil {
		return err
	}
	callback := c.doubt.callback
	c.doubt = nil
	if applied {
		c.applied(callback)
	}
	return nil
}

// The method `marked` reports whether the transaction in doubt has left its mark. c.txns does not
// count that transaction yet. So its mark is the result of c.mark() or, for a shared place, a
// version larger than c.txns.
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
	// The mark is not there, but it may have been replaced. Another client can replace the mark
	// only after the place's znode is gone. So read the znode now, after the mark was read. If the
	// znode still exists, the mark was not replaced, and the transaction was not applied.
	_, err = c.own(ctx)
	return false, err
}

// The method `own` returns the version of the place's znode, or ErrRevoked if the znode is gone.
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

// The method `refused` returns the error of a transaction that was not applied.
func (c *Place) refused(cause error) error {
	return &session.RequestError{Op: "txn", Path: c.Node().Path, Outcome: session.Failed, Err: cause}
}

// Revoked ends the place. Call it if the place's znode is gone, or if another client has changed
// the znode's data.
func (c *Place) Revoked() { c.hold.End(session.ErrRevoked) }

// unguarded converts an error of a transaction that begins with the given number of guard ops. In
// the result, the index of an op counts only the caller's ops. If the place's own znode is gone or
// changed, unguarded ends the place, and the error is ErrRevoked.
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
