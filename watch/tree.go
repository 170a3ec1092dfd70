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

// An Entry is a znode as it was last read. The data must not be modified.
type Entry struct {
	Path string
	Data []byte
	Stat *session.Stat // nil if there is no such znode
}

// An EntryChange is a change of one znode.
type EntryChange struct {
	Kind  Kind // never Same
	Entry      // the new state
	Old   Entry
}

// A TreeChange has the differences in a subtree since the previous TreeChange. Deletions come
// first, children before their parents. The other changes follow, parents before their children.
// The first TreeChange has all znodes, each with kind Initial. The stream yields it when everything
// was read, even if there is no znode.
type TreeChange struct {
	Path    string
	Changes []EntryChange
}

// TreeOptions limit the part of a subtree to watch. The zero value means all of
// it.
type TreeOptions struct {
	Depth int // 1 is the root and its children; 0 means no limit

	// Skip reports whether to leave out a znode, with everything below it. It
	// is not called for the root.
	Skip func(path string) bool

	// Forbidden, if not nil, is called for a znode below the root that the client may not read. The
	// stream then leaves out this znode, with everything below it. If the copy already has the
	// znode, the stream reports it as deleted. When the children of its parent change, the stream
	// tries to read the znode again, and calls Forbidden again if the read is refused. Several
	// goroutines may call Forbidden at once. If Forbidden is nil, the stream ends with the error.
	Forbidden func(path string)
}

// A Tree is a local copy of a subtree: the data of its root and of all znodes below. The copy is as
// new as the last read of its Watcher. It is kept up to date only while the program ranges over
// Changes or Run, or calls Keep. The other methods may be called from any goroutine at any time.
type Tree struct {
	Watcher[TreeChange]
	tree *tree
}

// NewTree returns an empty copy of the subtree of path, which need not exist.
// It sends no request. If path is invalid or Depth is negative, each stream
// ends at once with an error that wraps session.ErrInvalid.
func NewTree(path string, opts TreeOptions) *Tree {
	t := newTree(path, opts)
	w := newWatcher[TreeChange]("tree", path, t)
	if opts.Depth < 0 {
		w.invalid = invalid.New("TreeOptions.Depth is %d: must not be negative", opts.Depth)
	}
	return &Tree{*w, t}
}

// Keep keeps the copy up to date until ctx or the session ends, or until a server refuses a request
// for good (W7). It returns the cause. Use Keep with session.Run, which calls it again with the
// next session.
func (t *Tree) Keep(ctx context.Context, s *session.Session) error { return t.keep(ctx, s) }

// Ready returns a channel that is closed when the whole subtree was read once.
func (t *Tree) Ready() <-chan struct{} { return t.tree.ready }

// Get returns the znode at path. It returns false if the copy has no such znode.
func (t *Tree) Get(path string) (e Entry, ok bool) {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	k, ok := t.tree.nodes[path]
	if !ok {
		return Entry{}, false
	}
	return k.entry(path), true
}

// Children returns the children of a znode in the copy, sorted by name. It leaves out children that
// are skipped, forbidden, too deep, or not read yet.
func (t *Tree) Children(path string) []Entry {
	t.tree.mu.RLock()
	defer t.tree.mu.RUnlock()
	return t.tree.children(path)
}

// Len returns the number of znodes in the copy.
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
	reported bool
	ready    chan struct{}

	mu sync.RWMutex // read-locked to read; locked to modify, which only refresh does
	replica
}

func newTree(path string, opts TreeOptions) *tree {
	return &tree{replica: newReplica(path, opts), ready: make(chan struct{})}
}

func (t *tree) refresh(ctx context.Context, _ *session.Session, w *recipe.Watches, fired []recipe.Fired) (TreeChange, bool, error) {
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
	first := !t.reported
	if first {
		for i := range changes {
			changes[i].Kind = Initial
		}
		t.reported = true
		close(t.ready)
	}
	return TreeChange{Path: t.root, Changes: changes}, first || len(changes) > 0, nil
}

// The constant `batch` is the maximum number of facets that are read before the readings are
// applied.
const batch = 4096

// The method `read` reads the given facets and applies the readings to the replica. It repeats this
// with the facets that the replica requires next, until there are none.
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
		// A refusal to list the children counts as a refusal to read the znode's data: both remove
		// the znode from the copy. If the znode stayed in the copy, it would have no watch on its
		// children, and nothing would ever read the list again.
		return reading{facet: facet{path: f.path}}, nil
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
