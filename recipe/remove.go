package recipe

import (
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// Remove deletes a node of this session and retries while the error is session.Transient. It
// succeeds if the node is already gone, and leaves a node that another client has since created at
// the same path. It can fail only in three cases: ctx or the session ends first, the node has
// children, or the server refuses the deletion for good, for example because of the directory's
// ACL.
func Remove(ctx context.Context, s *session.Session, n Node) error {
	again := false  // the node may be deleted, and another session may own the path
	unsure := false // the last attempt may have been applied
	err := s.Retry(ctx, func(ctx context.Context) error {
		if again {
			if there, err := isThere(ctx, s, n); err != nil || !there {
				return err
			}
		}
		err := s.Delete(ctx, n.Path, session.AnyVersion)
		again, unsure = true, session.OutcomeOf(err) == session.Indeterminate
		if errors.Is(err, session.ErrNoNode) {
			return nil
		}
		return err
	})
	if err != nil && unsure && session.OutcomeOf(err) == session.Failed {
		return requestError("delete", n.Path, session.Indeterminate, err) // error of the read
	}
	return err
}

// isThere reports whether n exists. Another node at the same path does not count.
func isThere(ctx context.Context, s *session.Session, n Node) (bool, error) {
	if err := ReadBarrier(ctx, s, n.Path); err != nil {
		return false, err
	}
	stat, err := s.Exists(ctx, n.Path)
	return n.Is(stat), err
}

// RemoveFound deletes, as detached work, the node that find returns, if there is one. While the
// error of find is session.Transient, it retries until the session ends: for example, an overloaded
// server may refuse to show the node. After any other error it retries for one session timeout,
// because an administrator may be changing an ACL at that moment, and then gives up. The channel
// receives nil when the node is gone, or the error.
func RemoveFound(s *session.Session, find func(ctx context.Context) (Node, error)) <-chan error {
	return Detach(s, func(ctx context.Context) error {
		begun := time.Now()
		for pause := 50 * time.Millisecond; ; pause = min(2*pause, s.Timeout()/2) {
			var node Node
			err := s.Retry(ctx, func(ctx context.Context) (err error) {
				node, err = find(ctx)
				return err
			})
			switch {
			case err == nil && node.Path == "":
				return nil
			case err == nil:
				return Remove(ctx, s, node)
			case time.Since(begun) >= s.Timeout():
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return err
			}
		}
	})
}
