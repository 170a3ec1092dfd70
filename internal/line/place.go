package line

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/session"
)

// A Place is a contender's place in the line. Join returns it when it is
// served: then it is a grant.
type Place struct {
	line   *Line
	kind   Kind
	hold   *session.Hold
	data   []byte
	served bool

	turn chan struct{} // held by the one transaction that may run at a time
	txns int32         // transactions applied so far; guarded by turn
}

// Context ends when the grant does; see session.Hold.Context.
func (p *Place) Context() context.Context { return p.hold.Context() }

// Node is the contender's own node; its czxid is the fencing token.
func (p *Place) Node() session.Node { return p.hold.Node() }

// Leave gives the place up. The context ends first. An error means that the
// grant had ended before, which is its cause, or that ctx ended before the
// deletion of the node was confirmed: then the session goes on deleting it.
func (p *Place) Leave(ctx context.Context) error {
	ended := p.hold.End(ErrReleased)
	removed := p.remove()
	if !ended {
		return context.Cause(p.hold.Context())
	}
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// remove deletes the own node, however long the caller lives.
func (p *Place) remove() <-chan error {
	return p.line.Session.Cleanup(func(ctx context.Context) error {
		if p.served && p.kind == Exclusive && p.sign(ctx) {
			return nil
		}
		return p.line.Session.Remove(ctx, p.Node())
	})
}

// sign deletes the node in a transaction that sets its data first. Whoever
// waits on it is told of a change where it would be told of a deletion if the
// session had expired, and so knows that this place had been served: it need
// not list the others again.
func (p *Place) sign(ctx context.Context) bool {
	path := p.Node().Path
	_, err := p.line.Session.Multi(ctx,
		session.SetOp{Path: path, Version: session.AnyVersion},
		session.DeleteOp{Path: path, Version: session.AnyVersion})
	return err == nil || errors.Is(err, zk.ErrNoNode)
}
