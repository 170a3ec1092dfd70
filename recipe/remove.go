package recipe

import (
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// Remove deletes a znode of this session and retries while the error is session.Transient. It
// succeeds if the znode is already gone. The first attempt deletes whatever znode is at the path.
// Before each further attempt, Remove reads the path, and does not delete a znode that another
// client has created there meanwhile. Remove can fail only in three cases: ctx or the session ends
// first, the znode has children, or the server refuses the deletion for good, for example because
// of the directory's ACL.
func Remove(ctx context.Context, s *session.Session, n Node) error {
	again := false  // the znode may have been deleted, and another session may own the path
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
		// err is the error of the read, and says nothing about the deletion.
		return requestError("delete", n.Path, session.Indeterminate, err)
	}
	return err
}

// isThere reports whether n exists. Another znode at the same path does not count.
func isThere(ctx context.Context, s *session.Session, n Node) (bool, error) {
	if err := ReadBarrier(ctx, s, n.Path); err != nil {
		return false, err
	}
	stat, err := s.Exists(ctx, n.Path)
	return n.Is(stat), err
}

// RemoveFound deletes, as detached work, the znode that the function `find` returns, if there is
// one. While the error of `find` is session.Transient, RemoveFound calls `find` again until the
// session ends. After any other error of `find`, RemoveFound continues to call `find` for one
// session timeout, because an administrator may be changing an ACL at that moment. The channel
// receives nil when no such znode is left. If RemoveFound gives up, the channel receives the last
// error.
func RemoveFound(s *session.Session, find func(ctx context.Context) (Node, error)) <-chan error {
	return Detach(s, func(ctx context.Context) error {
		var failing time.Time // when the first error came that is not transient
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
			case failing.IsZero():
				failing = time.Now()
			case time.Since(failing) >= s.Timeout():
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
