package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// An Op is one part of a Multi: a CreateOp, SetOp, DeleteOp or CheckOp.
type Op interface {
	request(s *Session) (any, error)
	target() string
	size(s *Session) int
	clone() Op
}

// CreateOp creates a znode. A Multi cannot create a Container or TTL node, because the client could
// not read the answer.
type CreateOp struct {
	Path string
	Data []byte
	Mode Mode
	ACL  []ACL // nil means Options.ACL
}

// SetOp replaces the data of a znode that has the given version.
type SetOp struct {
	Path    string
	Data    []byte
	Version int32
}

// DeleteOp deletes a znode that has the given version.
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
		return nil, fmt.Errorf("a node of mode %d cannot be created in a multi", o.Mode)
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

// sizeOf returns an upper limit for the bytes that a part of a multi with this path takes, in
// addition to its data and ACL.
func (s *Session) sizeOf(path string) int { return len(s.opts.Chroot) + len(path) + 32 }

// An OpResult is the result of one part of a Multi.
type OpResult struct {
	Path string // of a CreateOp
	Stat *Stat  // of a SetOp
}

// A MultiError says which part made a Multi fail. No part was applied.
type MultiError struct {
	Index int // index into the ops
	Path  string
	Err   error
}

func (e *MultiError) Error() string { return fmt.Sprintf("op %d on %s: %v", e.Index, e.Path, e.Err) }
func (e *MultiError) Unwrap() error { return e.Err }

// Multi applies all of ops or none. If none was applied, the error contains a *MultiError. A Multi
// is one transaction with one zxid.
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
	responses, err := do(ctx, s, "multi", path, func(c *zk.Conn, t *ticket) ([]zk.MultiResponse, error) {
		t.markMulti(requests)
		responses, err := c.Multi(requests...)
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

// fits returns an error with ErrTooLarge if Multi would refuse ops as one transaction. It is for
// callers that divide their work into transactions. It sends no request.
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

// failedPart finds the part that made a multi fail. The servers answer the parts before it with no
// error, and those after it with an unknown error.
func failedPart(responses []zk.MultiResponse) (int, error) {
	for i, r := range responses {
		if r.Error != nil {
			return i, named(r.Error)
		}
	}
	return 0, nil
}

// rooted returns an error if the root does not exist, which means that the chroot is missing.
func (s *Session) rooted(ctx context.Context) error {
	if s.opts.Chroot == "" || s.rootSeen.Load() {
		return nil
	}
	stat, err := s.Exists(ctx, "/")
	if err == nil && stat == nil {
		return unsent("create", "/", s.noRoot(zk.ErrNoNode))
	}
	s.rootSeen.Store(err == nil)
	return err
}

// noRoot turns err, an ErrNoNode, into an error that says that the chroot is missing.
func (s *Session) noRoot(err error) error {
	return fmt.Errorf("chroot %s does not exist: %w", s.opts.Chroot, err)
}

// explainNoNode checks whether a znode is missing because the chroot is missing. This costs one
// more request, until the chroot has been seen.
func (s *Session) explainNoNode(ctx context.Context, err error) error {
	if s.opts.Chroot == "" || s.rootSeen.Load() {
		return err
	}
	stat, lookup := s.Exists(ctx, "/")
	if lookup == nil && stat == nil {
		return s.noRoot(err)
	}
	s.rootSeen.Store(lookup == nil)
	return err
}

// DeleteAll deletes path and everything below it, many znodes in each transaction. The whole is not
// one transaction: if it fails, a part may be deleted. It succeeds if path does not exist.
func (s *Session) DeleteAll(ctx context.Context, path string) error {
	for {
		err := s.Delete(ctx, path, AnyVersion)
		switch {
		case err == nil, errors.Is(err, zk.ErrNoNode):
			return nil
		case errors.Is(err, zk.ErrNotEmpty):
			if err := s.deleteChildren(ctx, path); err != nil {
				return err
			}
		case !retryable(err):
			return err
		}
	}
}

// deletions is the number of znodes that DeleteAll deletes in one transaction.
const deletions = 500

// deleteChildren deletes everything below dir that a list of its children contains. A transaction
// fails as a whole at the first child that has children of its own or that is gone. That child is
// taken out. There may be more such children, so the next transactions are smaller.
func (s *Session) deleteChildren(ctx context.Context, dir string) error {
	listing, err := s.Children(ctx, dir)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	names := listing.Names
	for most := deletions; len(names) > 0; {
		ops := s.deleteOps(dir, names[:min(most, len(names))])
		_, err := s.Multi(ctx, ops...)
		failed := (*MultiError)(nil)
		switch {
		case err == nil:
			names, most = names[len(ops):], min(2*most, deletions)
			continue
		case retryable(err):
			return s.Sync(ctx, dir) // the next list shows whether it was applied
		case !errors.As(err, &failed):
			return err
		}
		i := failed.Index
		switch {
		case errors.Is(err, zk.ErrNotEmpty):
			if err := s.DeleteAll(ctx, znode.Join(dir, names[i])); err != nil {
				return err
			}
		case !errors.Is(err, zk.ErrNoNode):
			return err
		}
		names = slices.Delete(names, i, i+1)
		most = max(most/4, 1)
	}
	return nil
}

// deleteOps returns the deletions of children of dir: at least one, and not more than fit into one
// request.
func (s *Session) deleteOps(dir string, names []string) []Op {
	var ops []Op
	size := 0
	for _, name := range names {
		op := DeleteOp{Path: znode.Join(dir, name), Version: AnyVersion}
		if size += op.size(s); len(ops) > 0 && s.checkSize("multi", ops[0].target(), size) != nil {
			break
		}
		ops = append(ops, op)
	}
	return ops
}
