package watch

import (
	"context"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A ChildrenDataChange is which children a znode has, with their data, and what
// became of them since the change before it. The slices must not be changed.
type ChildrenDataChange struct {
	Path     string
	Stat     *session.Stat // nil if there is no such znode
	Children []Entry       // all, sorted by name

	// Those that came, went (as they were last) and whose data was set, sorted
	// by name. A child that was deleted and created anew is Removed and Added.
	// On the first change all are Added.
	Added, Removed, Changed []Entry

	// Event is what the server told, the first of them if there were more;
	// 0 where nothing was told, as for the first state.
	Event session.EventType
}

// NewChildrenData returns a Watcher of a znode's children with their data. The
// znode need not exist. No request is made.
//
// The first look costs one request for each child. A later one costs one request
// for each child that came or changed, and one for the list if that changed.
func NewChildrenData(path string) *Watcher[ChildrenDataChange] {
	return newWatcher[ChildrenDataChange]("children of", path, &childrenData{tree: newTree(path, TreeOptions{Depth: 1})})
}

// childrenData is a tree of depth 1, told in other words.
type childrenData struct {
	tree *tree
}

func (c *childrenData) look(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (ChildrenDataChange, bool, error) {
	first := !c.tree.told
	change, changed, err := c.tree.look(ctx, s, w, fired)
	if err != nil || !changed {
		return ChildrenDataChange{}, false, err
	}
	out := ChildrenDataChange{Path: c.tree.root, Event: eventOf(fired)}
	told := first
	for _, e := range change.Changes {
		told = out.note(e) || told
	}
	if !told {
		return ChildrenDataChange{}, false, nil
	}
	slices.SortFunc(out.Removed, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	out.Stat = c.tree.nodes[c.tree.root].value().Stat
	out.Children = c.tree.children(c.tree.root)
	return out, true, nil
}

// note takes what became of the znode or of a child, and reports whether that
// is to be told.
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
