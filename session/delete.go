package session

import (
	"context"
	"errors"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// DeleteAll deletes path and everything below it, many znodes in each transaction. DeleteAll as a
// whole is not one transaction: if it fails, some of the znodes may already be deleted. DeleteAll
// succeeds if path does not exist.
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

// deletions is the largest number of znodes that DeleteAll deletes in one transaction.
const deletions = 500

// deleteChildren lists the children of dir once, and deletes them and everything below them. A
// transaction fails as a whole at the first child that is gone or that has children. After this
// failure, deleteChildren skips that child if it is gone, or deletes it separately if it has
// children. The next transactions are smaller, because they may fail in the same way.
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
			return s.Sync(ctx, dir) // the next list shows whether the transaction was applied
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
