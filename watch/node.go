package watch

import (
	"context"
	"slices"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A NodeChange is a state of a znode, with data and children, and the difference to the state that
// was reported before. The slices must not be modified.
type NodeChange struct {
	Path string
	Kind Kind // of the data; Same if only children changed
	Data []byte
	Stat *session.Stat // nil if there is no such znode

	Names          []string // of all children, sorted
	Added, Removed []string // as in ChildrenChange

	// Event is the server's event, or the first one if there were several. It
	// is 0 if there was none, for example for the first state.
	Event session.EventType
}

// NewNode returns a Watcher of the data and the children of one znode together.
// The znode need not exist. NewNode sends no request.
//
// A change of the data or of the children usually costs one request. It costs more if the znode is
// created or deleted, or if data and children change at about the same time. A change of the
// children can also cost one request for each child: see NewChildren.
func NewNode(path string) *Watcher[NodeChange] {
	return newWatcher[NodeChange]("node", path, &node{path: path})
}

type node struct {
	path     string
	reported bool
	last     nodeState // reported last
	read     nodeState // read last; part of it may come from a refresh that failed
}

// A nodeState has the data and the list of children of a znode. Each comes from its own read. Both
// existed at the same time only if the method `settled` returns true.
type nodeState struct {
	data session.Value
	list members
	stat *session.Stat // of the part that was read later
}

func (n *node) refresh(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (NodeChange, bool, error) {
	if err := n.readBoth(ctx, w, fired); err != nil {
		return NodeChange{}, false, err
	}
	now := n.read
	d, err := differ(ctx, s, n.path, n.last.list, now.list)
	if err != nil {
		return NodeChange{}, false, err
	}
	kind := kindOf(n.last.data, now.data)
	if !n.reported {
		kind = Initial
	}
	n.last, n.reported = now, true
	return NodeChange{
		Path: n.path, Kind: kind, Data: now.data.Data, Stat: now.stat,
		Names: now.list.names, Added: d.added, Removed: d.removed, Event: eventOf(fired),
	}, kind != Same || !d.none(), nil
}

// readBoth reads the parts whose watches fired: the data, the children or both. If `fired` is nil,
// it reads both parts. The stat of the part that was read last may show that the other part has
// changed meanwhile. Then readBoth reads the other part again. It repeats this until both parts
// belong to one state.
func (n *node) readBoth(ctx context.Context, w *recipe.Watches, fired []recipe.Fired) (err error) {
	data := fired == nil || slices.ContainsFunc(fired, func(f recipe.Fired) bool { return !f.Children })
	list := fired == nil || slices.ContainsFunc(fired, func(f recipe.Fired) bool { return f.Children })
	for data || list {
		if data {
			if n.read.data, err = readData(ctx, w, n.path); err != nil {
				return err
			}
			if n.read.stat = n.read.data.Stat; n.read.stat == nil {
				n.read.list = members{}
				return nil
			}
			data, list = false, list || !n.read.settled()
			continue
		}
		listing, err := w.Children(ctx, n.path)
		if isNoNode(err) {
			data = true
			continue
		}
		if err != nil {
			return err
		}
		slices.Sort(listing.Names)
		n.read.list = members{listing.Stat, listing.Names}
		n.read.stat = listing.Stat
		data, list = !n.read.settled(), false
	}
	return nil
}

// The method `settled` reports whether the data and the list existed at the same time. The stat of
// the part that was read second shows whether the first part has changed meanwhile.
func (n nodeState) settled() bool {
	return n.list.stat != nil && n.data.Stat.Mzxid == n.stat.Mzxid &&
		n.list.stat.Pzxid == n.stat.Pzxid && n.list.stat.Czxid == n.data.Stat.Czxid
}
