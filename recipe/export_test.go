package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/session"
)

// Find looks for a node in dir as a creation with the prefix does.
func Find(ctx context.Context, s *session.Session, dir, prefix string, mode session.Mode) (Node, error) {
	return (&Creation{s: s, dir: dir, prefix: prefix, mode: mode}).find(ctx)
}
