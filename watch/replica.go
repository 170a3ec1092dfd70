package watch

import (
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A replica is a copy of a subtree. It sends no requests. Its methods return the facets to read
// next, and apply the replies, which are called readings. A facet is the data of one znode, or the
// list of its children.
//
// Invariant: each znode in the replica is the root, or its parent is in the replica and lists it.
// For each facet that was read there is a watch at the server, or the watch has fired and the facet
// will be read again.
//
// Readings may be made and applied in any order, with one exception: data must not be read at the
// same time as lists of children. Otherwise the replica could lose a child in these steps:
//
//   - A child that the replica has is deleted. Its data is read, and this reading says that the
//     child does not exist.
//   - The child is created again, and its parent's list is read. The list has the child.
//   - The reading of the list is applied first. The replica still has the child, so the child's
//     data is not requested again.
//   - The reading of the data is applied, although it is older. It removes the child from the
//     replica.
//
// The replica keeps no watch on a missing child, so nothing would report that the child exists.
type replica struct {
	root string
	opts TreeOptions

	nodes map[string]*known // the znodes that exist, by path
	// The field `before` has each path that has changed since the last call of `changes`, with its
	// state at that call. The state is nil if there was no znode.
	before map[string]*known
}

// A known is the state of a znode in a replica. It is never modified: a new state replaces it.
type known struct {
	data  []byte
	stat  *session.Stat // the newest one
	names []string      // of its children, sorted; some children may be unread or already deleted
}

// A facet is the part of a znode that one watch covers and one request reads:
// its data or its children.
type facet struct {
	path     string
	children bool
}

// A reading is the reply to a request for a facet. The stat is nil if there was no such znode.
//
// A server may refuse the request because the client lacks the permission. If TreeOptions.Forbidden
// is set and the znode is not the root, the znode then counts as missing, and the replica must
// remove it. The replica removes a znode when it gets a reading of the znode's data with a nil
// stat, but not when it gets a reading of the children with a nil stat. So a refused request
// becomes a reading of the data with a nil stat, even if it was a request for the children.
type reading struct {
	facet
	data  []byte
	names []string // sorted
	stat  *session.Stat
}

func newReplica(root string, opts TreeOptions) replica {
	return replica{root: root, opts: opts, nodes: make(map[string]*known), before: make(map[string]*known)}
}

// The method `everything` returns the facets that a new stream reads first.
func (r *replica) everything() []facet {
	facets := make([]facet, 0, 2*len(r.nodes)+1)
	facets = append(facets, facet{path: r.root})
	for path := range r.nodes {
		facets = append(facets, facet{path: path})
		if r.descends(path) {
			facets = append(facets, facet{path, true})
		}
	}
	return facets
}

// The method `dirty` returns the facets whose watches fired, except those of znodes that are no
// longer in the replica.
func (r *replica) dirty(fired []recipe.Fired) []facet {
	facets := make([]facet, 0, len(fired))
	for _, f := range fired {
		if f.Path == r.root || r.nodes[f.Path] != nil {
			facets = append(facets, facet{f.Path, f.Children})
		}
	}
	return facets
}

// An agenda holds the facets that are still to be read.
type agenda struct {
	values, lists []facet
}

func (a *agenda) add(facets []facet) {
	for _, f := range facets {
		if f.children {
			a.lists = append(a.lists, f)
		} else {
			a.values = append(a.values, f)
		}
	}
}

// The method `next` takes up to n facets off the agenda and returns them without duplicates. If any
// values are left, it takes only values. Otherwise it takes only lists.
func (a *agenda) next(n int) []facet {
	from := &a.values
	if len(*from) == 0 {
		from = &a.lists
	}
	n = min(n, len(*from))
	now := (*from)[:n:n]
	*from = (*from)[n:]
	slices.SortFunc(now, func(a, b facet) int { return strings.Compare(a.path, b.path) })
	return slices.Compact(now)
}

// The method `apply` applies a reading to the replica and returns the facets to read next. If the
// result `keep` is false, the replica does not need the watch that was set by the read.
func (r *replica) apply(got reading) (next []facet, keep bool) {
	switch {
	case got.stat == nil && got.children:
		// The znode is gone on the server. Its data watch has fired or will fire, and then the
		// replica removes the znode.
		return nil, false
	case got.stat == nil:
		r.remove(got.path)
		return nil, got.path == r.root
	case got.children:
		return r.applyNames(got)
	}
	return r.applyData(got)
}

func (r *replica) applyData(got reading) (next []facet, keep bool) {
	if !r.listed(got.path) {
		return nil, false
	}
	old := r.nodes[got.path]
	now := &known{data: got.data, stat: got.stat}
	fresh := old == nil || !sameNode(old.stat, got.stat)
	if old != nil {
		now.names = old.names
		if !fresh && sameData(old.value(), now.value()) && old.stat.Pzxid > got.stat.Pzxid {
			now.stat = old.stat // newer: it shows a later change of the children
		}
	}
	r.put(got.path, now)
	if fresh && r.descends(got.path) {
		next = []facet{{got.path, true}}
	}
	return next, true
}

func (r *replica) applyNames(got reading) (next []facet, keep bool) {
	old := r.nodes[got.path]
	if old == nil {
		return nil, false
	}
	for _, name := range compare(old.names, got.names).removed {
		r.remove(znode.Join(got.path, name))
	}
	now := &known{data: old.data, stat: old.stat, names: got.names}
	if sameNode(old.stat, got.stat) && old.stat.Mzxid == got.stat.Mzxid && old.stat.Mtime == got.stat.Mtime {
		now.stat = got.stat
	}
	r.put(got.path, now)
	// The loop is not limited to names that are new in the list. The replica may also lack a child
	// whose name was in the previous list. Either an earlier refresh ended before it read the
	// child's data, or the child was deleted and created again.
	for _, name := range got.names {
		if path := znode.Join(got.path, name); r.nodes[path] == nil && !r.skips(path) {
			next = append(next, facet{path: path})
		}
	}
	return next, true
}

func (r *replica) put(path string, now *known) {
	r.remember(path)
	r.nodes[path] = now
}

// The method `remove` removes a znode and everything below it.
func (r *replica) remove(path string) {
	old := r.nodes[path]
	if old == nil {
		return
	}
	r.remember(path)
	delete(r.nodes, path)
	for _, name := range old.names {
		r.remove(znode.Join(path, name))
	}
}

func (r *replica) remember(path string) {
	if _, noted := r.before[path]; !noted {
		r.before[path] = r.nodes[path]
	}
}

func (r *replica) listed(path string) bool {
	if path == r.root {
		return true
	}
	dir, name := znode.Split(path)
	parent := r.nodes[dir]
	if parent == nil {
		return false
	}
	_, listed := slices.BinarySearch(parent.names, name)
	return listed
}

// The method `descends` reports whether the children of path belong to the replica.
func (r *replica) descends(path string) bool {
	return r.opts.Depth == 0 || r.depth(path) < r.opts.Depth
}

func (r *replica) skips(path string) bool {
	return r.opts.Skip != nil && r.opts.Skip(path)
}

// The method `children` returns the children of path that are in the replica, sorted by name.
func (r *replica) children(path string) []Entry {
	dir := r.nodes[path]
	if dir == nil {
		return nil
	}
	list := make([]Entry, 0, len(dir.names))
	for _, name := range dir.names {
		child := znode.Join(path, name)
		if k := r.nodes[child]; k != nil {
			list = append(list, k.entry(child))
		}
	}
	return list
}

// The method `all` returns the znodes in the replica, sorted by path.
func (r *replica) all() []Entry {
	list := make([]Entry, 0, len(r.nodes))
	for path, k := range r.nodes {
		list = append(list, k.entry(path))
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// The method `depth` returns the depth of path below the root of the replica, which has depth 0.
func (r *replica) depth(path string) int {
	below := strings.TrimPrefix(path, strings.TrimSuffix(r.root, "/"))
	if below == "/" {
		return 0
	}
	return strings.Count(below, "/")
}

// The method `changes` returns the differences to the state at its previous call. Deletions come
// first, children before their parents. The other changes follow, parents before their children.
func (r *replica) changes() []EntryChange {
	list := make([]EntryChange, 0, len(r.before))
	for path, old := range r.before {
		now := r.nodes[path]
		if kind := kindOf(old.value(), now.value()); kind != Same {
			list = append(list, EntryChange{Kind: kind, Entry: now.entry(path), Old: old.entry(path)})
		}
	}
	clear(r.before)
	slices.SortFunc(list, inOrder)
	return list
}

func inOrder(a, b EntryChange) int {
	switch {
	case a.Kind == Deleted && b.Kind == Deleted:
		return strings.Compare(b.Path, a.Path)
	case a.Kind == Deleted:
		return -1
	case b.Kind == Deleted:
		return 1
	}
	return strings.Compare(a.Path, b.Path)
}

func (k *known) value() session.Value {
	if k == nil {
		return session.Value{}
	}
	return session.Value{Data: k.data, Stat: k.stat}
}

func (k *known) entry(path string) Entry {
	if k == nil {
		return Entry{Path: path}
	}
	return Entry{Path: path, Data: k.data, Stat: k.stat}
}
