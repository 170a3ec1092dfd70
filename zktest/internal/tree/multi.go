package tree

import (
	"slices"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// The method `multi` prepares all operations of a multi. If one of them fails, the transaction is
// still a multi, but all its parts are errors.
func (p *Prep) multi(r Request, t *Txn) wire.Code {
	var req wire.MultiRequest
	if _, err := wire.Decode(r.Body, &req); err != nil || !Pure(req.Ops, false) || !modesDecide(req.Ops) || NullPath(req.Ops) {
		return wire.MarshallingError
	}
	mark := len(p.changes)
	failed := -1
	for i, op := range req.Ops {
		sub := Txn{Zxid: t.Zxid, Time: t.Time, Session: t.Session, Cxid: t.Cxid, Op: op.Op}
		if failed >= 0 {
			sub.Op, sub.Err = wire.OpError, wire.RuntimeInconsistency
		} else if code := p.one(r, op.Request, &sub); code == wire.MarshallingError {
			// ZooKeeper refuses the whole multi after a MarshallingError. After any other error,
			// the reply has a result for each part.
			p.rollback(mark)
			return code
		} else if code != wire.OK {
			failed = i
			sub = Txn{Zxid: t.Zxid, Time: t.Time, Session: t.Session, Cxid: t.Cxid, Op: wire.OpError, Err: code}
		}
		t.Subs = append(t.Subs, sub)
	}
	if failed >= 0 {
		p.rollback(mark)
		for i := range failed {
			t.Subs[i] = Txn{Zxid: t.Zxid, Time: t.Time, Session: t.Session, Cxid: t.Cxid, Op: wire.OpError}
		}
	}
	return wire.OK
}

// rollback removes the changes from the index `mark` on.
func (p *Prep) rollback(mark int) {
	if len(p.changes) == mark {
		return
	}
	clear(p.changes[mark:])
	p.changes = p.changes[:mark]
	clear(p.latest)
	for _, c := range p.changes {
		p.latest[c.path] = c
	}
}

// Pure reports whether all operations of a multi are reads. If `reads` is false, it reports instead
// whether all of them are writes.
func Pure(ops []wire.MultiOp, reads bool) bool {
	for _, op := range ops {
		if (op.Op == wire.OpGetData || op.Op == wire.OpGetChildren) != reads {
			return false
		}
	}
	return true
}

// NullPath reports whether a path in a multi is null.
func NullPath(ops []wire.MultiOp) bool {
	return slices.ContainsFunc(ops, func(op wire.MultiOp) bool {
		switch req := op.Request.(type) {
		case *wire.CreateRequest:
			return req.Path == wire.Null
		case *wire.CreateTTLRequest:
			return req.Path == wire.Null
		case *wire.SetDataRequest:
			return req.Path == wire.Null
		case *wire.PathVersion:
			return req.Path == wire.Null
		case *wire.PathWatch:
			return req.Path == wire.Null
		}
		return false
	})
}

// modesDecide changes the operation of a create in a multi if the mode of the create belongs to
// another operation. There are two such cases:
//
//   - A create of any kind with the mode of a container becomes createContainer.
//   - A createTTL becomes create if its mode has no time to live and is not that of a container.
//
// A createContainer with another mode stays as it is. modesDecide returns false if a create other
// than createTTL has a mode that is invalid or that has a time to live.
func modesDecide(ops []wire.MultiOp) bool {
	for i := range ops {
		op := &ops[i]
		switch req := op.Request.(type) {
		case *wire.CreateRequest:
			if !validMode(req.Mode) || req.Mode >= wire.ModeTTL {
				return false
			}
			if req.Mode == wire.ModeContainer {
				op.Op = wire.OpCreateContainer
			}
		case *wire.CreateTTLRequest:
			switch {
			case req.Mode == wire.ModeContainer:
				op.Op, op.Request = wire.OpCreateContainer, &req.CreateRequest
			case req.Mode != wire.ModeTTL && req.Mode != wire.ModeTTLSequential:
				op.Op, op.Request = wire.OpCreate, &req.CreateRequest
			}
		}
	}
	return true
}

func validMode(mode int32) bool {
	return mode >= wire.ModePersistent && mode <= wire.ModeTTLSequential
}
