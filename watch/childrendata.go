package watch

import (
	"context"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A ChildrenDataChange is the list of a znode's children with their data, and the difference to the
// list that was reported before. The slices must not be modified.
type ChildrenDataChange struct {
	Path     string
	Stat     *session.Stat // nil if there is no such znode
	Children []Entry       // all, sorted by name

	// Added has the children that were created. Removed has the children that were deleted, with
	// their last data. Changed has the children whose data was set. Each list is sorted by name. A
	// child that was deleted and created again is in Removed and in Added. In the first change all
	// children are in Added.
	Added, Removed, Changed []Entry

	// Event is the server's event, or the first one if there were several. It
	// is 0 if there was none, for example for the first state.
	Event session.EventType
}

// NewChildrenData returns a Watcher of a znode's children with their data. The
// znode need not exist. NewChildrenData sends no request.
//
// The first read costs one request for each child, and two more. A later read costs one request for
// each child that was created, changed or deleted, and one for the list if the list changed.
func NewChildrenData(path string) *Watcher[ChildrenDataChange] {
	return newWatcher[ChildrenDataChange]("children of", path, &childrenData{tree: newTree(path, TreeOptions{Depth: 1})})
}

// childrenData is a tree of depth 1, reported as a ChildrenDataChange.
type childrenData struct {
	tree *tree
}

func (c *childrenData) refresh(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (ChildrenDataChange, bool, error) {
	first := !c.tree.reported
	change, changed, err := c.tree.refresh(ctx, s, w, fired)
	if err != nil || !changed {
		return ChildrenDataChange{}, false, err
	}
	out := ChildrenDataChange{Path: c.tree.root, Event: eventOf(fired)}
	reported := first
	for _, e := range change.Changes {
		reported = out.note(e) || reported
	}
	if !reported {
		return ChildrenDataChange{}, false, nil
	}
	slices.SortFunc(out.Removed, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	out.Stat = c.tree.nodes[c.tree.root].value().Stat
	out.Children = c.tree.children(c.tree.root)
	return out, true, nil
}

// The method `note` adds e to the lists if it is the change of a child. It returns whether the
// stream has to report e.
func (c *ChildrenDataChange) note(e EntryChange) bool {
	if e.Path == c.Path {
		return parentChanged(e.Old.Stat, e.Stat)
	}
	if e.Kind == Changed {
		c.Changed = append(c.Changed, e.Entry)
		return true
	}
	if e.Old.Stat != nil {
		c.Removed = append(c.Removed, e.Old)
	}
	if e.Stat != nil {
		c.Added = append(c.Added, e.Entry)
	}
	return true
}
