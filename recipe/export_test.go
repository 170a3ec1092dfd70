package recipe

import (
	"context"

	"github.com/zkcoord/zkcoord/session"
)

// Find searches dir for a znode with the prefix, in the way that a creation does.
func Find(ctx context.Context, s *session.Session, dir, prefix string, mode session.Mode) (Node, error) {
	return (&Creation{s: s, dir: dir, prefix: prefix, mode: mode}).find(ctx)
}
