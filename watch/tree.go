package watch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// An Entry is a znode as it was read last. The data must not be changed.
type Entry struct {
	Path string
	Data []byte
	Stat *session.Stat // nil if there is no such znode
}

// An EntryChange is what became of a znode.
type EntryChange struct {
	Kind  Kind // never Same
	Entry      // as it is now
	Old   Entry
}

// A TreeChange is what changed in a subtree since the change before it:
// deletions first, children before their parents; then the rest, parents
// before their children. The first has all that there is, each Initial, and
// is told when all was read, even if that is nothing.
type TreeChange struct {
	Path    string
	Changes []EntryChange
}

// TreeOptions say what of a subtree to watch. The zero value is all of it.
type TreeOptions struct {
	Depth int // 1 is the root and its children; 0 is no limit

	// Skip says which znodes to leave out, with all that is below them. It is
	// not asked about the root.
	Skip func(path string) bool

	// Forbidden, if not nil, is called for a znode below the root that may not be
	// read, which is then left out with all that is below it. It is called again
	// each time the znode is tried again, which is when its parent's children
	// change, and from several goroutines. If Forbidden is nil, the stream ends
	// with the error.
	Forbidden func(path string)
}

// A Tree is a local copy of a subtree: the data of its root and of all znodes
// below. It is as new as the last look of its Watcher. A program has to range over
// Changes, or call Keep. The other methods may be called from any goroutine at any
// time.
type Tree struct {
	Watcher[TreeChange]
	tree *tree
}

// NewTree returns an empty copy of the subtree of path, which need not exist. No
// request is made. A negative Depth is an error as an invalid path is.
func NewTree(path string, opts TreeOptions) *Tree {
	t := newTree(path, opts)
	w := newWatcher[TreeChange]("tree", path, t)
	if opts.Depth < 0 {
		w.invalid = invalid.New("TreeOptions.Depth of %d is negative", opts.Depth)
	}
	return &Tree{*w, t}
}

// Keep keeps the copy up to date until ctx or the session ends. It is made for
// session.Run, which calls it again with the next session.
func (t *Tree) Keep(ctx context.Context, s *session.Session) error { return t.keep(ctx, s) }

// Ready is closed when all has been read once.
func (t *Tree) Ready() <-chan struct{} { return t.tree.ready }

// Get returns a znode of the copy.
func (t *Tree) Get(path string) (e Entry, ok bool) {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	k, ok := t.tree.nodes[path]
	if !ok {
		return Entry{}, false
	}
	return k.entry(path), true
}

// Children returns the children of a znode in the copy, sorted by name. Those that
// are skipped, too deep, or not read yet are not among them.
func (t *Tree) Children(path string) []Entry {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	return t.tree.children(path)
}

// Len is the number of znodes in the copy.
func (t *Tree) Len() int {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	return len(t.tree.nodes)
}

// All returns all znodes in the copy, sorted by path.
func (t *Tree) All() []Entry {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	return t.tree.all()
}

// A tree keeps a replica up to date.
type tree struct {
	told  bool
	ready chan struct{}

	mu sync.RWMutex // to read: held; to change, which only look does: locked
	replica
}

func newTree(path string, opts TreeOptions) *tree {
	return &tree{replica: newReplica(path, opts), ready: make(chan struct{})}
}

func (t *tree) look(ctx context.Context, _ *session.Session, w *recipe.Watches, fired []recipe.Fired) (TreeChange, bool, error) {
	facets := t.dirty(fired)
	if fired == nil {
		facets = t.everything()
	}
	if err := t.read(ctx, w, facets); err != nil {
		return TreeChange{}, false, err
	}
	t.mu.Lock()
	changes := t.changes()
	t.mu.Unlock()
	first := !t.told
	if first {
		for i := range changes {
			changes[i].Kind = Initial
		}
		t.told = true
		close(t.ready)
	}
	return TreeChange{Path: t.root, Changes: changes}, first || len(changes) > 0, nil
}

// batch is how many facets are read before what was read is looked at.
const batch = 4096

// read reads facets, and those that they lead to, until there are none left.
func (t *tree) read(ctx context.Context, w *recipe.Watches, facets []facet) error {
	var todo agenda
	todo.add(facets)
	for {
		now := todo.next(batch)
		if len(now) == 0 {
			return nil
		}
		readings := make([]reading, len(now))
		err := each(ctx, len(now), func(ctx context.Context, i int) (err error) {
			readings[i], err = t.readOne(ctx, w, now[i])
			return err
		})
		if err != nil {
			return err
		}
		todo.add(t.take(w, readings))
	}
}

func (t *tree) readOne(ctx context.Context, w *recipe.Watches, f facet) (got reading, err error) {
	got.facet = f
	if f.children {
		var listing session.Listing
		listing, err = w.Children(ctx, f.path)
		got.names, got.stat = listing.Names, listing.Stat
		slices.Sort(got.names)
	} else {
		var value session.Value
		if f.path == t.root {
			value, err = readData(ctx, w, f.path)
		} else {
			value, err = w.Get(ctx, f.path)
		}
		got.data, got.stat = value.Data, value.Stat
	}
	if errors.Is(err, session.ErrNoAuth) && t.opts.Forbidden != nil && f.path != t.root {
		t.opts.Forbidden(f.path)
		return reading{facet: f}, nil
	}
	if isNoNode(err) {
		return reading{facet: f}, nil
	}
	return got, err
}

func (t *tree) take(w *recipe.Watches, readings []reading) (next []facet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, got := range readings {
		more, keep := t.apply(got)
		next = append(next, more...)
		if !keep {
			w.Drop(got.path, got.children)
		}
	}
	return next
}
