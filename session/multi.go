package session

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// An Op is one part of a Multi: a CreateOp, SetOp, DeleteOp or CheckOp.
type Op interface {
	request(s *Session) (any, error)
	target() string
	size(s *Session) int
	clone() Op
}

// CreateOp creates a znode. A Multi cannot create a Container or TTL znode, because go-zookeeper
// cannot decode the answer.
type CreateOp struct {
	Path string
	Data []byte
	Mode Mode
	ACL  []ACL // nil means Options.ACL
}

// SetOp replaces the data of a znode if the znode has the given version.
type SetOp struct {
	Path    string
	Data    []byte
	Version int32
}

// DeleteOp deletes a znode if the znode has the given version.
type DeleteOp struct {
	Path    string
	Version int32
}

// CheckOp makes the Multi fail unless the znode exists with the given version.
type CheckOp struct {
	Path    string
	Version int32
}

func (o CreateOp) request(s *Session) (any, error) {
	if o.Mode < Persistent || o.Mode > EphemeralSequential {
		return nil, invalid.New("mode %d is not between %d and %d: a multi creates no containers", o.Mode, Persistent, EphemeralSequential)
	}
	return &zk.CreateRequest{Path: s.root.innerNew(o.Path, o.Mode&zk.FlagSequence != 0), Data: o.Data, Acl: o.acl(s), Flags: int32(o.Mode)}, nil
}

func (o CreateOp) acl(s *Session) []zk.ACL {
	if o.ACL == nil {
		return s.opts.ACL
	}
	return o.ACL
}

func (o SetOp) request(s *Session) (any, error) {
	return &zk.SetDataRequest{Path: s.root.inner(o.Path), Data: o.Data, Version: o.Version}, nil
}

func (o DeleteOp) request(s *Session) (any, error) {
	return &zk.DeleteRequest{Path: s.root.inner(o.Path), Version: o.Version}, nil
}

func (o CheckOp) request(s *Session) (any, error) {
	return &zk.CheckVersionRequest{Path: s.root.inner(o.Path), Version: o.Version}, nil
}

func (o CreateOp) clone() Op {
	o.Data, o.ACL = bytes.Clone(o.Data), slices.Clone(o.ACL)
	return o
}

func (o SetOp) clone() Op    { o.Data = bytes.Clone(o.Data); return o }
func (o DeleteOp) clone() Op { return o }
func (o CheckOp) clone() Op  { return o }

func (o CreateOp) target() string { return o.Path }
func (o SetOp) target() string    { return o.Path }
func (o DeleteOp) target() string { return o.Path }
func (o CheckOp) target() string  { return o.Path }

func (o CreateOp) size(s *Session) int { return s.sizeOf(o.Path) + len(o.Data) + aclSize(o.acl(s)) }
func (o SetOp) size(s *Session) int    { return s.sizeOf(o.Path) + len(o.Data) }
func (o DeleteOp) size(s *Session) int { return s.sizeOf(o.Path) }
func (o CheckOp) size(s *Session) int  { return s.sizeOf(o.Path) }

// sizeOf returns an upper limit for the size in bytes of a part of a multi. The part has the given
// path. Its data and its ACL are not counted.
func (s *Session) sizeOf(path string) int { return len(s.opts.Chroot) + len(path) + 32 }

// An OpResult is the result of one part of a Multi.
type OpResult struct {
	Path string // the path of the new znode; for a CreateOp only
	Stat *Stat  // the new stat of the znode; for a SetOp only
}

// A MultiError says which part made a Multi fail. No part was applied.
type MultiError struct {
	Index int // index into the ops
	Path  string
	Err   error
}

func (e *MultiError) Error() string { return fmt.Sprintf("op %d on %s: %v", e.Index, e.Path, e.Err) }
func (e *MultiError) Unwrap() error { return e.Err }

// Multi applies all of ops or none. If an op made the Multi fail, the error contains a *MultiError.
// A Multi is one transaction with one zxid.
func (s *Session) Multi(ctx context.Context, ops ...Op) ([]OpResult, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	path := ops[0].target()
	requests := make([]any, len(ops))
	for i, op := range ops {
		if err := znode.Check(op.target()); err != nil {
			return nil, unsent("multi", path, &MultiError{i, op.target(), err})
		}
		request, err := op.clone().request(s)
		if err != nil {
			return nil, unsent("multi", path, &MultiError{i, op.target(), err})
		}
		requests[i] = request
	}
	if err := s.fits(ops...); err != nil {
		return nil, err
	}
	responses, err := do(ctx, s, request{op: "multi", path: path}, func(r request) ([]zk.MultiResponse, error) {
		r.ticket.markMulti(requests)
		responses, err := r.zk.Multi(requests...)
		if i, part := failedPart(responses); part != nil && i < len(ops) {
			err = &MultiError{i, ops[i].target(), part}
		}
		return responses, err
	})
	if err != nil {
		return nil, err
	}
	results := make([]OpResult, len(responses))
	for i, r := range responses {
		results[i] = OpResult{Path: s.root.outer(r.String), Stat: r.Stat}
	}
	return results, nil
}

// The method `fits` returns an error that wraps ErrTooLarge if Multi would refuse ops as one
// transaction. It is for callers that divide their work into transactions. It sends no request.
func (s *Session) fits(ops ...Op) error {
	size := 0
	for _, op := range ops {
		size += op.size(s)
	}
	if len(ops) == 0 {
		return nil
	}
	return s.checkSize("multi", ops[0].target(), size)
}

// failedPart returns the index and the error of the part that made a multi fail, or a nil error if
// no part failed. In the servers' answer, earlier parts have no error, and later parts have the
// error RuntimeInconsistency.
func failedPart(responses []zk.MultiResponse) (int, error) {
	for i, r := range responses {
		if r.Error != nil {
			return i, named(r.Error)
		}
	}
	return 0, nil
}
