package line

import (
	"context"
	"errors"
	"strconv"

	"github.com/zkcoord/zkcoord/session"
)

// Txn applies ops in one transaction that fails unless the place is still
// held, and answers truly whether they were applied: the transaction leaves a
// mark that tells after a lost reply.
//
// The results of ops that were applied but whose reply was lost are zero. An
// Indeterminate error is left only if ctx or the session ended, or somebody
// deleted the node.
func (p *Place) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, p.refused(context.Cause(ctx))
	}
	guard := p.guard()
	for {
		if err := context.Cause(p.Context()); err != nil {
			return nil, p.refused(err)
		}
		results, err := p.line.Session.Multi(ctx, append(guard, ops...)...)
		if err == nil {
			p.txns++
			return results[len(guard):], nil
		}
		if session.Outcome(err) == session.Failed {
			return nil, p.unguarded(err, len(guard))
		}
		applied, known := p.applied(ctx)
		switch {
		case !known:
			return nil, err
		case applied:
			p.txns++
			return make([]session.OpResult, len(ops)), nil
		}
	}
}

// guard are the ops that fail unless the place is held, and leave the mark.
//
// The mark of an exclusive place is the directory's data, which nobody else
// can set under the same guard while the place is held. Its own node's data
// must not change before it leaves: see sign. Shared places are many, so each
// marks its own node, by its version.
func (p *Place) guard() []session.Op {
	path := p.Node().Path
	if p.kind == Shared {
		return []session.Op{session.SetOp{Path: path, Data: p.data, Version: p.txns}}
	}
	return []session.Op{
		session.CheckOp{Path: path, Version: session.AnyVersion},
		session.SetOp{Path: p.line.Dir, Data: p.mark(), Version: session.AnyVersion},
	}
}

func (p *Place) mark() []byte {
	return strconv.AppendInt([]byte(p.Node().Name()+" "), int64(p.txns), 10)
}

// applied tells whether the transaction whose reply was lost was applied.
func (p *Place) applied(ctx context.Context) (applied, known bool) {
	s, node := p.line.Session, p.Node()
	// Sync, so that the answer is final: the leader takes nothing more from
	// the connection that was lost.
	if s.Sync(ctx, node.Path) != nil {
		return false, false
	}
	dir, err := s.Get(ctx, p.line.Dir)
	if err != nil {
		return false, false
	}
	// The node is read after the mark: if it is there, the place was held all
	// the while, and the mark is its own.
	own, err := s.Exists(ctx, node.Path)
	if err != nil || own == nil || own.Czxid != node.Czxid {
		return false, false
	}
	if p.kind == Shared {
		return own.Version > p.txns, true
	}
	return string(dir.Data) == string(p.mark()), true
}

// refused is the error of a transaction that was not sent.
func (p *Place) refused(cause error) error {
	return &session.RequestError{Op: "txn", Path: p.Node().Path, Effect: session.Failed, Err: cause}
}

// unguarded makes the error of a transaction speak of the caller's ops only.
func (p *Place) unguarded(err error, guards int) error {
	part := (*session.MultiError)(nil)
	switch {
	case !errors.As(err, &part):
		return err
	case part.Index >= guards:
		return p.refused(&session.MultiError{Index: part.Index - guards, Path: part.Path, Err: part.Err})
	case part.Path == p.Node().Path:
		p.hold.End(session.ErrRevoked)
		return p.refused(session.ErrRevoked)
	}
	return p.refused(part)
}
