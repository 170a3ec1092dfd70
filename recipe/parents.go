package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// WithParents calls create, which creates a node at path. If parents are missing, it creates them,
// like [CreateParents], and calls create again. If create fails in the end or is given up, the new
// parents are deleted again unless they are in use. The servers would not always delete them:
// before version 3.10, they keep a container that never had a child.
//
// If create returns session.ErrNoNode, this must mean that a parent of path is missing.
func WithParents(ctx context.Context, s *session.Session, path string, create func(ctx context.Context) error) error {
	return withParents(ctx, s, path, func([]string) {}, create)
}

// withParents is like WithParents, and also calls note with the parents that it has created so far.
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
		if err != nil && !session.ConnectionLost(err) {
			removeParents(s, made)
		}
		return err
	}
}

// Ensure creates a node, with missing parents, unless a node of any client exists at path. After an
// error, session.OutcomeOf says whether the node may exist. If the connection is lost, and another
// client deletes the new node meanwhile, the node may be created a second time.
func Ensure(ctx context.Context, s *session.Session, path string, data []byte, mode session.Mode) error {
	for {
		err := WithParents(ctx, s, path, func(ctx context.Context) error {
			_, err := s.Create(ctx, path, data, mode)
			return err
		})
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists):
			return nil
		case !session.ConnectionLost(err): // otherwise the next attempt reports whether the node exists
			return err
		}
	}
}

// CreateParents creates the missing parents of path as containers, which the server deletes some
// time after their last child. The session needs no permission to create in parents that exist.
// CreateParents does not create the chroot: if that is missing, it fails with session.ErrNoNode. So
// a caller that creates parents and a node in turn does not loop forever. If CreateParents fails,
// it deletes what it has created. Prefer [WithParents] if a node follows.
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
			return made, nil // servers check the permission before they check whether dir exists
		default:
			if lost {
				made = append(made, dir)
			}
			return made, err
		}
	}
}

// isVisible reports whether a znode is known to exist.
func isVisible(ctx context.Context, s *session.Session, path string) bool {
	stat, err := s.Exists(ctx, path)
	return err == nil && stat != nil
}

// removeParents deletes those of the given containers that are empty. A container in use is not
// empty, or its user creates it again.
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
