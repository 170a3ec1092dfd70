package watch

import (
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A replica is what is known of a subtree. It makes no requests: it says what
// to read, and takes what was read.
//
// Invariant: a znode in it is the root or is listed by its parent, which is in
// it too; and has a watch at the server for each facet that was read, or the
// watch has fired and the facet will be read again.
//
// Readings may be made and applied in any order but for one rule: a value and
// a list never at the same time. Else a child could be missing when it was
// read, and its parent's list, which is applied first, be of a later time when
// it was there again: it would be taken out and no watch would ever tell.
type replica struct {
	root string
	opts TreeOptions

	nodes  map[string]*known // those that exist
	before map[string]*known // of those that changed since the last changes(), what they were; nil: they were not
}

// A known znode is not changed once it is in a replica, but replaced.
type known struct {
	data  []byte
	stat  *session.Stat // newest
	names []string      // of its children, sorted; also of those not read yet, or gone since
}

// A facet is what one watch is on and one request reads.
type facet struct {
	path     string
	children bool
}

// A reading is the answer to the request for a facet. The stat is nil if there
// was no such znode.
type reading struct {
	facet
	data  []byte
	names []string // sorted
	stat  *session.Stat
}

func newReplica(root string, opts TreeOptions) replica {
	return replica{root: root, opts: opts, nodes: make(map[string]*known), before: make(map[string]*known)}
}

// everything is what to read on a new session.
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

// dirty is what to read after watches fired.
func (r *replica) dirty(fired []recipe.Fired) []facet {
	facets := make([]facet, 0, len(fired))
	for _, f := range fired {
		if f.Path == r.root || r.nodes[f.Path] != nil {
			facets = append(facets, facet{f.Path, f.Children})
		}
	}
	return facets
}

// An agenda is what is still to be read.
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

// next takes up to n facets of one kind, each once.
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

// apply takes a reading and returns what to read next. Unless keep is true, its
// watch is of no use.
func (r *replica) apply(got reading) (next []facet, keep bool) {
	switch {
	case got.stat == nil && got.children:
		// Its data watch has fired or will: that is what removes it.
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
			now.stat = old.stat // the children were read later
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
	// Not only those that the last list did not have: a look may have ended
	// before it read one, and one that was gone may have come back.
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

// remove takes a znode out, and all below it.
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

// descends reports whether the children of path are wanted.
func (r *replica) descends(path string) bool {
	return r.opts.Depth == 0 || r.depth(path) < r.opts.Depth
}

func (r *replica) skips(path string) bool {
	return r.opts.Skip != nil && r.opts.Skip(path)
}

// children are those of path that are in the replica, by name.
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

// all are the znodes in the replica, by path.
func (r *replica) all() []Entry {
	list := make([]Entry, 0, len(r.nodes))
	for path, k := range r.nodes {
		list = append(list, k.entry(path))
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// depth of path below the root of the replica, which has depth 0.
func (r *replica) depth(path string) int {
	below := strings.TrimPrefix(path, strings.TrimSuffix(r.root, "/"))
	if below == "/" {
		return 0
	}
	return strings.Count(below, "/")
}

// changes returns what is not as it was when it was called last: deletions,
// children before their parents, then the rest, parents first.
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
