package session

import (
	"context"
	"errors"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// withParents calls create, which makes a node at path, and calls it again after it
// has made the parents that are missing, as createParents does. It notes which parents
// it has made so far. If create fails in the end, or is given up, the parents that were
// made are deleted again unless they are in use: before 3.10, servers keep a container
// that never had a child.
//
// An error of create that is ErrNoNode has to mean that a parent of path is missing.
func (s *Session) withParents(ctx context.Context, path string, note func(made []string), create func(ctx context.Context) error) error {
	var made []string
	for {
		err := create(ctx)
		if errors.Is(err, zk.ErrNoNode) {
			var more []string
			more, err = s.makeParents(ctx, path)
			made = append(made, more...)
			note(made)
			if err == nil {
				continue
			}
		}
		if err != nil && !retryable(err) {
			s.removeParents(made)
		}
		return err
	}
}

// createParents makes those parents of path that do not exist, as containers,
// which the server deletes again some time after their last child went. Parents
// that exist need no permission to create. It does not make the chroot: if that is
// missing, it fails with ErrNoNode, so that a caller that creates a node and its
// parents in turn comes to an end. If it fails, it deletes again what it has made.
// Prefer WithParents if a node follows.
func (s *Session) createParents(ctx context.Context, path string) error {
	made, err := s.makeParents(ctx, path)
	if err != nil {
		s.removeParents(made)
	}
	return err
}

// createParents returns what it has made, or may have made, the topmost first.
func (s *Session) makeParents(ctx context.Context, path string) (made []string, err error) {
	dir, _ := znode.Split(path)
	if dir == "/" || dir == "" {
		return nil, s.rooted(ctx)
	}
	for lost := false; ; {
		_, err := s.Create(ctx, dir, nil, Container)
		lost = lost || OutcomeOf(err) == Indeterminate
		switch {
		case err == nil, errors.Is(err, zk.ErrNodeExists) && lost:
			return append(made, dir), nil
		case errors.Is(err, zk.ErrNodeExists):
			return made, nil
		case errors.Is(err, zk.ErrNoNode):
			above, err := s.makeParents(ctx, dir)
			if made = append(made, above...); err != nil {
				return made, err
			}
		case retryable(err): // if it was made, the next attempt says so
		case errors.Is(err, zk.ErrNoAuth) && s.isVisible(ctx, dir):
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
func (s *Session) isVisible(ctx context.Context, path string) bool {
	stat, err := s.Exists(ctx, path)
	return err == nil && stat != nil
}

// removeParents deletes those of the containers made that are empty. One that is in
// use is not empty, or its user makes it again.
func (s *Session) removeParents(made []string) {
	if len(made) == 0 {
		return
	}
	s.life.detach(func(ctx context.Context) error {
		for _, dir := range slices.Backward(made) {
			if err := s.Retry(ctx, func(ctx context.Context) error { return s.Delete(ctx, dir, 0) }); err != nil && !errors.Is(err, zk.ErrNoNode) {
				return err
			}
		}
		return nil
	})
}
