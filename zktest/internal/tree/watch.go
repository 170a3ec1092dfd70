package tree

import (
	"maps"
	"slices"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Watcher is told of events: a client's connection. It must be comparable.
type Watcher interface {
	Event(e wire.EventType, path string)
	Auth() []wire.ID // its identities, which decide what it may know
}

// A kind is one of the two sets of watches that a server keeps.
type kind int

const (
	data kind = iota
	children
	kinds
)

// A mode says how long a watch stays.
type mode int

const (
	once mode = iota
	persistent
	recursive // persistent, and for all nodes below
)

// Watches are the watches of one server. The zero value has none.
type Watches struct {
	tables [kinds]table
}

// A table holds the watches of one kind: for each path, who watches it in
// which mode, in the order of asking.
type table struct {
	byPath    map[string][]watch
	byWatcher map[Watcher]map[string]bool
	recursive int // how many watches are recursive; 0 spares the walk up to the root
}

type watch struct {
	who  Watcher
	mode mode
}

func (t *table) find(path string, w Watcher) int {
	for i, x := range t.byPath[path] {
		if x.who == w {
			return i
		}
	}
	return -1
}

// add leaves a watch; one that the watcher had on the same path takes the new
// mode, also where that is the lesser one, as in ZooKeeper 3.8.
func (s *Watches) add(k kind, path string, w Watcher, m mode) {
	if w == nil {
		return
	}
	t := &s.tables[k]
	if t.byPath == nil {
		t.byPath, t.byWatcher = make(map[string][]watch), make(map[Watcher]map[string]bool)
	}
	if m == recursive {
		t.recursive++
	}
	if t.byWatcher[w][path] {
		x := &t.byPath[path][t.find(path, w)]
		if x.mode == recursive {
			t.recursive--
		}
		x.mode = m
		return
	}
	t.byPath[path] = append(t.byPath[path], watch{w, m})
	if t.byWatcher[w] == nil {
		t.byWatcher[w] = make(map[string]bool)
	}
	t.byWatcher[w][path] = true
}

func (t *table) drop(path string, w Watcher) bool {
	i := t.find(path, w)
	if i < 0 {
		return false
	}
	list := t.byPath[path]
	if list[i].mode == recursive {
		t.recursive--
	}
	t.keep(path, slices.Delete(list, i, i+1))
	t.forget(path, w)
	return true
}

// keep replaces the watches on a path.
func (t *table) keep(path string, list []watch) {
	if t.byPath[path] = list; len(list) == 0 {
		delete(t.byPath, path)
	}
}

// forget drops a path from those of a watcher.
func (t *table) forget(path string, w Watcher) {
	if delete(t.byWatcher[w], path); len(t.byWatcher[w]) == 0 {
		delete(t.byWatcher, w)
	}
}

// trigger tells the watchers of path of an event, except those in told, and
// returns whom it told. A watcher that may not read what has the ACL is not
// told, and its watch is spent all the same.
func (s *Watches) trigger(k kind, path string, e wire.EventType, acl []wire.ACL, told []Watcher) []Watcher {
	t := &s.tables[k]
	if len(t.byPath) == 0 {
		return nil
	}
	var now []Watcher
	note := func(w Watcher) {
		// A watcher is in one list once, but may be in those of many parents.
		if t.recursive == 0 || !slices.Contains(now, w) {
			now = append(now, w)
		}
	}
	for at := path; ; {
		list := t.byPath[at]
		kept := make([]watch, 0, len(list))
		for _, x := range list {
			switch {
			case x.mode == recursive && e != wire.EventChildrenChanged, x.mode == persistent && at == path:
				note(x.who)
			case x.mode == once && at == path:
				note(x.who)
				t.forget(at, x.who)
				continue
			}
			kept = append(kept, x)
		}
		if len(kept) < len(list) {
			t.keep(at, kept)
		}
		if t.recursive == 0 || at == "/" {
			break
		}
		parent, _ := split(at)
		at = watchPath(parent)
	}
	for _, w := range now {
		if !slices.Contains(told, w) && allowed(acl, wire.PermRead, w.Auth()) == wire.OK {
			w.Event(e, path)
		}
	}
	return now
}

// AddPersistent leaves a watch that stays after an event.
func (s *Watches) AddPersistent(path string, w Watcher, below bool) {
	m := persistent
	if below {
		m = recursive
	}
	s.add(data, path, w, m)
	s.add(children, path, w, m)
}

// kindsOf are the kinds that a type of watcher in a request stands for, none
// for an unknown type.
func kindsOf(typ int32) []kind {
	switch typ {
	case wire.WatcherChildren:
		return []kind{children}
	case wire.WatcherData:
		return []kind{data}
	case wire.WatcherAny:
		return []kind{children, data}
	}
	return nil
}

// Contains reports whether there is such a watch. As in ZooKeeper 3.8 that of
// anyone on the very path will do.
func (s *Watches) Contains(path string, typ int32, w Watcher) wire.Code {
	if kindsOf(typ) == nil {
		return wire.MarshallingError
	}
	for _, k := range kindsOf(typ) {
		t := &s.tables[k]
		i := t.find(path, w)
		if len(t.byPath[path]) > 0 || i >= 0 && t.byPath[path][i].mode == recursive {
			return wire.OK
		}
	}
	return wire.NoWatcher
}

// Remove takes the watcher's own watches on a path away.
func (s *Watches) Remove(path string, typ int32, w Watcher) wire.Code {
	if kindsOf(typ) == nil {
		return wire.MarshallingError
	}
	code := wire.NoWatcher
	for _, k := range kindsOf(typ) {
		if s.tables[k].drop(path, w) {
			code = wire.OK
		}
	}
	return code
}

// RemoveAll takes all watches of a watcher away.
func (s *Watches) RemoveAll(w Watcher) {
	for k := range s.tables {
		t := &s.tables[k]
		for path := range t.byWatcher[w] { // any order: nobody is told
			t.drop(path, w)
		}
	}
}

// Count returns the number of watches of both kinds.
func (s *Watches) Count() (n int) {
	for k := range s.tables {
		n += s.tables[k].count()
	}
	return n
}

// OnData returns the numbers of those who watch data, of the paths that they
// watch, and of their watches.
func (s *Watches) OnData() (watchers, paths, watches int) {
	t := &s.tables[data]
	return len(t.byWatcher), len(t.byPath), t.count()
}

func (t *table) count() (n int) {
	for _, list := range t.byPath {
		n += len(list)
	}
	return n
}

// Each calls f for every watch on data: by path, and in the order of asking.
func (s *Watches) Each(f func(path string, w Watcher)) {
	t := &s.tables[data]
	for _, path := range slices.Sorted(maps.Keys(t.byPath)) {
		for _, x := range t.byPath[path] {
			f(path, x.who)
		}
	}
}
