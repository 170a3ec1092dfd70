package watch

import (
	"context"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A ChildrenChange is which children a znode has, and which came and went
// since the change before it. The slices must not be changed.
type ChildrenChange struct {
	Path  string
	Stat  *session.Stat // nil if there is no such znode
	Names []string      // all, sorted

	// A child that was deleted and created anew is in both. On the first
	// change all are Added.
	Added, Removed []string // sorted

	// Event is what the server told, the first of them if there were more;
	// 0 where nothing was told, as for the first state.
	Event session.EventType
}

// NewChildren returns a Watcher of the names of a znode's children. The znode need
// not exist. No request is made.
//
// A change costs one request. If a child was created and deleted between two
// looks, or the other way round, it costs one more for each child. Among thousands
// of children of which many come and go at any time, NewChildrenData costs less,
// since its watches say which child changed.
func NewChildren(path string) *Watcher[ChildrenChange] {
	return newWatcher[ChildrenChange]("children of", path, &children{path: path})
}

type children struct {
	path string
	told bool
	last members
}

func (c *children) look(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (ChildrenChange, bool, error) {
	now, err := readMembers(ctx, w, c.path)
	if err != nil {
		return ChildrenChange{}, false, err
	}
	d, err := differ(ctx, s, c.path, c.last, now)
	if err != nil {
		return ChildrenChange{}, false, err
	}
	changed := !c.told || !d.none() || parentChanged(c.last.stat, now.stat)
	c.last, c.told = now, true
	return ChildrenChange{
		Path: c.path, Stat: now.stat, Names: now.names,
		Added: d.added, Removed: d.removed, Event: eventOf(fired),
	}, changed, nil
}

// parentChanged reports whether a znode came, went or was created anew, all of
// which are changes even if it has no children. Its data does not matter.
func parentChanged(old, now *session.Stat) bool {
	if old == nil || now == nil {
		return old != now
	}
	return !sameNode(old, now)
}
