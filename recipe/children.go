package recipe

import (
	"context"
	"errors"

	"github.com/zkcoord/zkcoord/session"
)

// WatchChildren is like Session.ChildrenWatch, but dir may be missing. The listing is then empty
// and has no Stat, and the watch waits for the creation of dir.
func WatchChildren(ctx context.Context, s *session.Session, dir string) (session.Listing, *session.Watch, error) {
	for {
		listing, w, err := s.ChildrenWatch(ctx, dir)
		if !errors.Is(err, session.ErrNoNode) {
			return listing, w, err
		}
		stat, w, err := s.ExistsWatch(ctx, dir)
		if err != nil || stat == nil {
			return session.Listing{}, w, err
		}
		w.Stop() // dir exists now, and a watch of Exists does not fire for children
	}
}
