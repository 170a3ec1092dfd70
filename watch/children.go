package watch

import (
	"context"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A ChildrenChange is the list of a znode's children, and the children that were created and
// deleted since the previous ChildrenChange. The slices must not be modified.
type ChildrenChange struct {
	Path  string
	Stat  *session.Stat // nil if there is no such znode
	Names []string      // all, sorted

	// A child that was deleted and created again is in both lists. In the first change all children
	// are in Added.
	Added, Removed []string // sorted

	// Event is the server's event, or the first one if there were several. It
	// is 0 if there was none, for example for the first state.
	Event session.EventType
}

// NewChildren returns a Watcher of the names of a znode's children. The znode
// need not exist. NewChildren sends no request.
//
// A change costs one request. The lists of two reads do not show whether a child was created and
// deleted between the reads, or deleted and created again. If the znode's stat shows that this has
// happened, the change costs one more request for each child that is in both lists. If there are
// thousands of children and many change all the time, NewChildrenData costs less, because its
// watches say which child has changed.
func NewChildren(path string) *Watcher[ChildrenChange] {
	return newWatcher[ChildrenChange]("children of", path, &children{path: path})
}

type children struct {
	path     string
	reported bool
	last     members
}

func (c *children) refresh(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (ChildrenChange, bool, error) {
	now, err := readMembers(ctx, w, c.path)
	if err != nil {
		return ChildrenChange{}, false, err
	}
	d, err := differ(ctx, s, c.path, c.last, now)
	if err != nil {
		return ChildrenChange{}, false, err
	}
	changed := !c.reported || !d.none() || parentChanged(c.last.stat, now.stat)
	c.last, c.reported = now, true
	return ChildrenChange{
		Path: c.path, Stat: now.stat, Names: now.names,
		Added: d.added, Removed: d.removed, Event: eventOf(fired),
	}, changed, nil
}

// parentChanged reports whether a znode was created, deleted or recreated. Each
// of these is a change even if the znode has no children. A change of its data
// does not count.
func parentChanged(old, now *session.Stat) bool {
	if old == nil || now == nil {
		return old != now
	}
	return !sameNode(old, now)
}
