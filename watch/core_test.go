package watch

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A model is a server's tree, with each znode's stat as a server would return
// it.
type model struct {
	zxid  int64
	nodes map[string]*modelNode
}

type modelNode struct {
	stat  zk.Stat
	names map[string]bool
}

func newModel() *model {
	return &model{zxid: 1, nodes: map[string]*modelNode{"/": {names: map[string]bool{}}}}
}

func (m *model) create(path string) {
	dir, name := znode.Split(path)
	parent := m.nodes[dir]
	if parent == nil || m.nodes[path] != nil {
		return
	}
	m.zxid++
	m.nodes[path] = &modelNode{zk.Stat{Czxid: m.zxid, Mzxid: m.zxid, Pzxid: m.zxid}, map[string]bool{}}
	parent.names[name] = true
	parent.stat.Cversion++
	parent.stat.Pzxid = m.zxid
}

func (m *model) set(path string) {
	if n := m.nodes[path]; n != nil {
		m.zxid++
		n.stat.Mzxid = m.zxid
		n.stat.Version++
	}
}

func (m *model) delete(path string) {
	n := m.nodes[path]
	if n == nil || path == "/" || len(n.names) > 0 {
		return
	}
	dir, name := znode.Split(path)
	m.zxid++
	delete(m.nodes, path)
	delete(m.nodes[dir].names, name)
	m.nodes[dir].stat.Cversion++
	m.nodes[dir].stat.Pzxid = m.zxid
}

func (m *model) members(path string) members {
	n := m.nodes[path]
	if n == nil {
		return members{}
	}
	stat := n.stat
	return members{&stat, slices.Sorted(maps.Keys(n.names))}
}

// FuzzDifference compares the difference between two reads of a directory with the changes between
// them. In the difference, a recreated child is both removed and added. A child that was created
// and deleted between the reads is in neither list.
//
// Covers W5.
func FuzzDifference(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := newModel()
		m.create("/d")
		step := func() {
			path := fmt.Sprintf("/d/%d", r.IntN(5))
			switch r.IntN(20) {
			case 0:
				for _, name := range m.members("/d").names {
					m.delete("/d/" + name)
				}
				m.delete("/d")
			case 1, 2:
				m.create("/d")
			case 3, 4, 5, 6, 7, 8, 9, 10:
				m.create(path)
			default:
				m.delete(path)
			}
		}
		ids := func() map[string]int64 {
			ids := map[string]int64{}
			for _, name := range m.members("/d").names {
				ids[name] = m.nodes["/d/"+name].stat.Czxid
			}
			return ids
		}
		for range 10 {
			old, was := m.members("/d"), ids()
			for range r.IntN(8) {
				step()
			}
			now, is := m.members("/d"), ids()
			var want difference
			for name, id := range was {
				if is[name] != id {
					want.removed = append(want.removed, name)
				}
			}
			for name, id := range is {
				if was[name] != id {
					want.added = append(want.added, name)
				}
			}
			slices.Sort(want.added)
			slices.Sort(want.removed)
			if got := settle(m, old, now); !slices.Equal(got.added, want.added) || !slices.Equal(got.removed, want.removed) {
				t.Fatalf("seed %d: from %v to %v: got %v, want %v", seed, was, is, got, want)
			}
		}
	})
}

// The function `settle` does on the model what the function `differ` does on a session.
func settle(m *model, old, now members) difference {
	d, hidden := old.until(now)
	if hidden <= 0 {
		return d
	}
	var again []string
	for _, name := range old.stayed(now) {
		if old.recreated(now, m.nodes["/d/"+name].stat.Czxid) {
			again = append(again, name)
		}
	}
	return difference{merge(d.added, again), merge(d.removed, again)}
}

// In this test a directory is read three times, and a child is recreated after the second read.
// Only the difference between the second and the third read reports this.
//
// Covers W3, W5.
func TestRecreationAfterTheLookIsToldOnce(t *testing.T) {
	m := newModel()
	m.create("/d")
	m.create("/d/x")
	first := m.members("/d")
	m.create("/d/y")
	m.delete("/d/y") // no list shows this change
	second := m.members("/d")
	m.delete("/d/x")
	m.create("/d/x")
	if d := settle(m, first, second); !d.none() {
		t.Errorf("got %v before the recreation, want no difference", d)
	}
	if d := settle(m, second, m.members("/d")); len(d.added) != 1 || len(d.removed) != 1 {
		t.Errorf("got %v, want x removed and added", d)
	}
}

// The Cversion of a znode counts the changes of its children in 32 bits. The difference is correct
// even if the count overflows.
func TestDifferenceAcrossTheWrapOfTheCount(t *testing.T) {
	old := members{&zk.Stat{Cversion: 1<<31 - 1}, []string{"a"}}
	now := members{&zk.Stat{Cversion: -1 << 31}, []string{"a", "b"}}
	if d, hidden := old.until(now); hidden != 0 || len(d.added) != 1 {
		t.Errorf("got %v and %d hidden, want b added and none hidden", d, hidden)
	}
}

// After a restore from a backup, an ensemble no longer knows which zxids it assigned after that
// backup. So it assigns these zxids a second time, to other transactions at other times. Therefore
// kindOf also compares times and data.
//
// Covers W5.
func TestKindOfWhatWasRestored(t *testing.T) {
	value := func(czxid, ctime, mzxid, mtime int64, data string) session.Value {
		return session.Value{Data: []byte(data), Stat: &zk.Stat{Czxid: czxid, Ctime: ctime, Mzxid: mzxid, Mtime: mtime}}
	}
	old := value(1, 10, 2, 20, "x")
	for _, one := range []struct {
		now  session.Value
		want Kind
	}{
		{value(1, 10, 2, 20, "x"), Same},
		{value(1, 10, 2, 21, "x"), Changed},
		{value(1, 10, 2, 20, "y"), Changed},
		{value(1, 10, 3, 20, "x"), Changed},
		{value(1, 11, 2, 20, "x"), Recreated},
		{value(2, 10, 2, 20, "x"), Recreated},
		{session.Value{}, Deleted},
	} {
		if got := kindOf(old, one.now); got != one.want {
			t.Errorf("from %q %+v to %q %+v: got %v, want %v",
				old.Data, old.Stat, one.now.Data, one.now.Stat, got, one.want)
		}
	}
}

// In this test two reads of a znode's children have the same names and the same Cversion, but the
// second read has the smaller pzxid. So the servers have lost data, and each child may be a
// different one. The difference contains each child twice, as removed and as added.
//
// Covers W5.
func TestChildrenOfWhatWasRestored(t *testing.T) {
	old := members{&zk.Stat{Czxid: 1, Cversion: 2, Pzxid: 9}, []string{"a", "b"}}
	now := members{&zk.Stat{Czxid: 1, Cversion: 2, Pzxid: 5}, []string{"a", "b"}}
	if d, _ := old.until(now); len(d.added) != 2 || len(d.removed) != 2 {
		t.Errorf("got %+v, want both removed and added", d)
	}
}

// A watcher models the server's side of a replica's watches.
type watcher struct {
	*model
	data, lists map[string]bool
	fired       []recipe.Fired
}

func (w *watcher) fire(path string, children bool, e zk.EventType) {
	table := w.data
	if children {
		table = w.lists
	}
	if table[path] {
		delete(table, path)
		w.fired = append(w.fired, recipe.Fired{Path: path, Children: children, Type: e})
	}
}

// The method `change` makes one random change and fires the watches that report it.
func (w *watcher) change(r *rand.Rand) {
	path := "/r"
	for range r.IntN(4) {
		path += fmt.Sprintf("/%d", r.IntN(3))
	}
	dir, _ := znode.Split(path)
	before := w.zxid
	switch r.IntN(5) {
	case 0, 1:
		if w.create(path); w.zxid != before {
			w.fire(path, false, zk.EventNodeCreated)
			w.fire(dir, true, zk.EventNodeChildrenChanged)
		}
	case 2:
		if w.set(path); w.zxid != before {
			w.fire(path, false, zk.EventNodeDataChanged)
		}
	default:
		if w.delete(path); w.zxid != before {
			w.fire(path, false, zk.EventNodeDeleted)
			w.fire(path, true, zk.EventNodeDeleted)
			w.fire(dir, true, zk.EventNodeChildrenChanged)
		}
	}
}

func (w *watcher) read(f facet, root string) reading {
	n := w.nodes[f.path]
	if n == nil {
		if f.path == root && !f.children {
			w.data[root] = true
		}
		return reading{facet: f}
	}
	stat := n.stat
	if f.children {
		w.lists[f.path] = true
		return reading{facet: f, names: slices.Sorted(maps.Keys(n.names)), stat: &stat}
	}
	w.data[f.path] = true
	return reading{facet: f, stat: &stat}
}

// In this test the data of a znode is read before the znode is deleted. Before the replica applies
// this reading, another reading removes the znode from the replica, for example a list of children
// without the znode. The replica must then ignore the data. If it accepted the data, the znode
// would stay in the replica, because no watch would report the deletion.
//
// Covers W4.
func TestValueOfAZnodeThatIsNoLongerListed(t *testing.T) {
	stat := func(zxid int64) *zk.Stat { return &zk.Stat{Czxid: zxid, Mzxid: zxid, Pzxid: zxid} }
	value := func(path string, zxid int64) reading { return reading{facet: facet{path: path}, stat: stat(zxid)} }
	list := func(path string, names ...string) reading {
		return reading{facet: facet{path, true}, names: names, stat: stat(1)}
	}
	for name, gone := range map[string]reading{
		"parent is gone":       {facet: facet{path: "/r/a"}},
		"grandparent is gone":  {facet: facet{path: "/r"}},
		"not in the list":      list("/r/a"),
		"others in the list":   list("/r/a", "c"),
		"parent not in a list": list("/r"),
	} {
		t.Run(name, func(t *testing.T) {
			rep := newReplica("/r", TreeOptions{})
			for _, got := range []reading{value("/r", 1), list("/r", "a"), value("/r/a", 2), list("/r/a", "b"), value("/r/a/b", 3)} {
				if _, keep := rep.apply(got); !keep {
					t.Fatalf("reading of %+v was not accepted, want it accepted", got.facet)
				}
			}
			rep.changes()
			rep.apply(gone)
			next, keep := rep.apply(value("/r/a/b", 4))
			if keep || len(next) > 0 || rep.nodes["/r/a/b"] != nil {
				t.Errorf("the value of /r/a/b: watch kept %v, next %v, in the replica %v; want false, none, false",
					keep, next, rep.nodes["/r/a/b"] != nil)
			}
			if all := rep.changes(); !slices.ContainsFunc(all, func(c EntryChange) bool { return c.Kind == Deleted && c.Path == "/r/a/b" }) {
				t.Errorf("got changes %v, want /r/a/b deleted", all)
			}
		})
	}
}

// FuzzReplica changes a tree while a replica of it is read, and compares the
// two at the end. Some refreshes end halfway.
//
// Covers W3, W4, W5.
func FuzzReplica(f *testing.F) {
	for seed := range uint64(1000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := &watcher{model: newModel(), data: map[string]bool{}, lists: map[string]bool{}}
		opts := TreeOptions{Depth: r.IntN(4)}
		rep := newReplica("/r", opts)
		told := map[string]zk.Stat{} // built from the changes alone
		look := func(facets []facet, busy, steps int) (over bool) {
			var todo agenda
			todo.add(facets)
			for now := todo.next(1 + r.IntN(4)); len(now) > 0; now = todo.next(1 + r.IntN(4)) {
				if steps--; steps < 0 {
					return false
				}
				readings := make([]reading, len(now))
				for _, i := range r.Perm(len(now)) {
					for range r.IntN(1 + busy) {
						w.change(r)
					}
					readings[i] = w.read(now[i], "/r")
				}
				for _, i := range r.Perm(len(now)) {
					next, keep := rep.apply(readings[i])
					todo.add(next)
					if !keep && readings[i].children {
						delete(w.lists, readings[i].path)
					} else if !keep {
						delete(w.data, readings[i].path)
					}
				}
			}
			for _, c := range rep.changes() {
				old, had := told[c.Path]
				want := Created
				switch {
				case !had && c.Stat == nil, had && c.Stat != nil && old.Mzxid == c.Stat.Mzxid:
					t.Fatalf("seed %d: %v of %s was reported without a difference, want no report",
						seed, c.Kind, c.Path)
				case c.Stat == nil:
					want = Deleted
				case had && old.Czxid != c.Stat.Czxid:
					want = Recreated
				case had:
					want = Changed
				}
				if c.Kind != want {
					t.Fatalf("seed %d: %s: got %v, want %v", seed, c.Path, c.Kind, want)
				}
				if delete(told, c.Path); c.Stat != nil {
					told[c.Path] = *c.Stat
				}
			}
			for path := range told {
				dir, _ := znode.Split(path)
				if _, parent := told[dir]; !parent && path != "/r" {
					t.Fatalf("seed %d: %s was reported without its parent", seed, path)
				}
			}
			return true
		}
		fresh := true // if true, the next round begins with a new session
		for round := range 30 {
			for range r.IntN(10) {
				w.change(r)
			}
			facets := rep.dirty(w.fired)
			if fresh || round == 20 {
				clear(w.data)
				clear(w.lists)
				facets = rep.everything()
			}
			w.fired = nil
			steps := math.MaxInt
			if r.IntN(4) == 0 {
				steps = r.IntN(8) // the session or ctx ends halfway
			}
			fresh = !look(facets, 3, steps)
		}
		if fresh {
			clear(w.data)
			clear(w.lists)
			w.fired = nil
			look(rep.everything(), 0, math.MaxInt)
		}
		for len(w.fired) > 0 {
			facets := rep.dirty(w.fired)
			w.fired = nil
			look(facets, 0, math.MaxInt)
		}
		want := map[string]int64{} // path -> mzxid
		got := map[string]int64{}
		for path, stat := range told {
			got[path] = stat.Mzxid
		}
		for path, n := range w.nodes {
			if path != "/" && (opts.Depth == 0 || rep.depth(path) <= opts.Depth) {
				want[path] = n.stat.Mzxid
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		if len(rep.nodes) != len(want) {
			t.Fatalf("seed %d: got %d znodes in the replica, want %d",
				seed, len(rep.nodes), len(want))
		}
	})
}
