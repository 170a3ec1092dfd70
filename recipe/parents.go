package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// WithParents calls the function `create`, which creates a znode at path. If parents are missing,
// WithParents creates them as containers, like [CreateParents], and calls `create` again. The
// function `create` must return session.ErrNoNode only if a parent of path is missing.
//
// If WithParents returns an error, the session deletes the parents that WithParents has created, in
// the background. Servers before version 3.10 would not delete them, because they keep a container
// that never had a child. Parents that are in use remain: if the connection was lost, `create` may
// have been applied although it returned an error.
func WithParents(ctx context.Context, s *session.Session, path string, create func(ctx context.Context) error) error {
	return withParents(ctx, s, path, func([]string) {}, create)
}

// withParents is like WithParents. It also calls the function `note` with the parents that it has
// created so far.
func withParents(ctx context.Context, s *session.Session, path string, note func(made []string), create func(ctx context.Context) error) error {
	var made []string
	for {
		err := create(ctx)
		if errors.Is(err, session.ErrNoNode) {
			var more []string
			more, err = makeParents(ctx, s, path)
			made = append(made, more...)
			note(made)
			if err == nil {
				continue
			}
		}
		if err != nil {
			removeParents(s, made)
		}
		return err
	}
}

// Ensure creates a znode and its missing parents. It succeeds without a change if there is already
// a znode at path. After an error, session.OutcomeOf says whether the znode may exist. If the
// connection is lost, and another client deletes the new znode meanwhile, the znode may be created
// a second time.
func Ensure(ctx context.Context, s *session.Session, path string, data []byte, mode session.Mode) error {
	for {
		err := WithParents(ctx, s, path, func(ctx context.Context) error {
			_, err := s.Create(ctx, path, data, mode)
			return err
		})
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists):
			return nil
		case !session.ConnectionLost(err): // otherwise the next attempt reports whether the znode exists
			return err
		}
	}
}

// CreateParents creates the missing parents of path as containers. The servers delete a container
// some time after the deletion of its last child. A parent that already exists causes no error,
// even if the session lacks the permission to create it. If CreateParents fails, the session
// deletes what the call has created, in the background. If your next step creates a znode at
// path, prefer [WithParents].
//
// CreateParents does not create the chroot. If the chroot is missing, it fails with
// session.ErrNoNode. The reason is that a caller may repeat CreateParents and its own create until
// both succeed. If CreateParents succeeded without a chroot, such a caller would loop forever.
func CreateParents(ctx context.Context, s *session.Session, path string) error {
	made, err := makeParents(ctx, s, path)
	if err != nil {
		removeParents(s, made)
	}
	return err
}

// makeParents returns the parents that it has created, or may have created, from the top down.
func makeParents(ctx context.Context, s *session.Session, path string) (made []string, err error) {
	dir, _ := znode.Split(path)
	if dir == "/" || dir == "" {
		return nil, engine.Of(s).Rooted(ctx)
	}
	for lost := false; ; {
		_, err := s.Create(ctx, dir, nil, session.Container)
		lost = lost || session.OutcomeOf(err) == session.Indeterminate
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists) && lost:
			return append(made, dir), nil
		case errors.Is(err, session.ErrNodeExists):
			return made, nil
		case errors.Is(err, session.ErrNoNode):
			above, err := makeParents(ctx, s, dir)
			if made = append(made, above...); err != nil {
				return made, err
			}
		case session.ConnectionLost(err): // the next attempt reports whether dir exists
		case errors.Is(err, session.ErrNoAuth) && isVisible(ctx, s, dir):
			return made, nil // dir exists, but servers check the permission first
		default:
			if lost {
				made = append(made, dir)
			}
			return made, err
		}
	}
}

// isVisible reports whether a read shows a znode at path. If the read fails, isVisible returns
// false.
func isVisible(ctx context.Context, s *session.Session, path string) bool {
	stat, err := s.Exists(ctx, path)
	return err == nil && stat != nil
}

// removeParents begins to delete, in the background, those of the given containers that are empty.
// If another client was about to create a child in one of them, that client creates the container
// again.
func removeParents(s *session.Session, made []string) {
	if len(made) == 0 {
		return
	}
	Detach(s, func(ctx context.Context) error {
		for _, dir := range slices.Backward(made) {
			if err := s.Retry(ctx, func(ctx context.Context) error { return s.Delete(ctx, dir, 0) }); err != nil && !errors.Is(err, session.ErrNoNode) {
				return err
			}
		}
		return nil
	})
}
