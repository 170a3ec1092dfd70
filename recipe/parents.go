package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// WithParents calls create, which makes a node at path, and calls it again after it has
// made the parents that are missing, as [CreateParents] does. If create fails in the end,
// or is given up, the parents that were made are deleted again unless they are in use:
// before 3.10, servers keep a container that never had a child.
//
// An error of create that is session.ErrNoNode has to mean that a parent of path is
// missing.
func WithParents(ctx context.Context, s *session.Session, path string, create func(ctx context.Context) error) error {
	return withParents(ctx, s, path, func([]string) {}, create)
}

// withParents is WithParents, and notes which parents it has made so far.
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

// Ensure makes a node, and its parents if need be, unless there is a node at path, whoever
// made it. After an error, session.OutcomeOf tells whether there may be one. A node that
// was made, and that somebody has deleted since, may be made a second time if the
// connection was lost.
func Ensure(ctx context.Context, s *session.Session, path string, data []byte, mode session.Mode) error {
	for {
		err := WithParents(ctx, s, path, func(ctx context.Context) error {
			_, err := s.Create(ctx, path, data, mode)
			return err
		})
		switch {
		case err == nil, errors.Is(err, session.ErrNodeExists):
			return nil
		case !session.ConnectionLost(err): // else, if it was made, the next attempt says so
			return err
		}
	}
}

// CreateParents makes those parents of path that do not exist, as containers, which the
// server deletes again some time after their last child went. Parents that exist need no
// permission to create. It does not make the chroot: if that is missing, it fails with
// session.ErrNoNode, so that a caller that creates a node and its parents in turn comes to
// an end. If it fails, it deletes again what it has made. Prefer [WithParents] if a node
// follows.
func CreateParents(ctx context.Context, s *session.Session, path string) error {
	made, err := makeParents(ctx, s, path)
	if err != nil {
		removeParents(s, made)
	}
	return err
}

// makeParents returns what it has made, or may have made, the topmost first.
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
		case session.ConnectionLost(err): // if it was made, the next attempt says so
		case errors.Is(err, session.ErrNoAuth) && isVisible(ctx, s, dir):
			return made, nil // servers look at the permission first, and then whether dir exists
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

// removeParents deletes those of the containers made that are empty. One that is in
// use is not empty, or its user makes it again.
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
