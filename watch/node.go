package watch

import (
	"context"
	"slices"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A NodeChange is a state of a znode, data and children, and what changed since
// the change before it. The slices must not be changed.
type NodeChange struct {
	Path string
	Kind Kind // of the data; Same where only children changed
	Data []byte
	Stat *session.Stat // nil if there is no such znode

	Names          []string // of all children, sorted
	Added, Removed []string // as in ChildrenChange

	// Event is what the server told, the first of them if there were more;
	// 0 where nothing was told, as for the first state.
	Event session.EventType
}

// NewNode returns a Watcher of one znode's data and children together. The znode
// need not exist. No request is made. A change of either costs one request.
func NewNode(path string) *Watcher[NodeChange] {
	return newWatcher[NodeChange]("node", path, &node{path: path})
}

type node struct {
	path string
	told bool
	last nodeState // told last
	read nodeState // read last, part of it maybe in a look that failed
}

// A nodeState is what is known of a znode. It is one state of it only if both
// parts are: see settled.
type nodeState struct {
	data session.Value
	list members
	stat *session.Stat // of the part that was read later
}

func (n *node) look(ctx context.Context, s *session.Session, w *recipe.Watches, fired []recipe.Fired) (NodeChange, bool, error) {
	if err := n.readBoth(ctx, w, fired); err != nil {
		return NodeChange{}, false, err
	}
	now := n.read
	d, err := differ(ctx, s, n.path, n.last.list, now.list)
	if err != nil {
		return NodeChange{}, false, err
	}
	kind := kindOf(n.last.data, now.data)
	if !n.told {
		kind = Initial
	}
	n.last, n.told = now, true
	return NodeChange{
		Path: n.path, Kind: kind, Data: now.data.Data, Stat: now.stat,
		Names: now.list.names, Added: d.added, Removed: d.removed, Event: eventOf(fired),
	}, kind != Same || !d.none(), nil
}

// readBoth reads what fired, and again whichever part the other one shows to
// have changed meanwhile, until the two are one state.
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

// settled reports whether the part that was read earlier is still what it was
// when the later one was read: the stat of the later one tells of both. Then
// both were there at that moment.
func (n nodeState) settled() bool {
	return n.list.stat != nil && n.data.Stat.Mzxid == n.stat.Mzxid &&
		n.list.stat.Pzxid == n.stat.Pzxid && n.list.stat.Czxid == n.data.Stat.Czxid
}
