package tree

import (
	"maps"
	"slices"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Watcher receives events. It is a client's connection. It must be
// comparable.
type Watcher interface {
	Event(e Event)
	Auth() []wire.ID // its identities, which decide which events it may receive
}

// An Event is an event for a watcher.
type Event struct {
	Type wire.EventType
	Path string
	Zxid int64 // of the transaction, or NoZxid
}

// NoZxid means that an event does not name its transaction.
const NoZxid = -1

// A kind is one of the two sets of watches that a server has.
type kind int

const (
	data kind = iota
	children
	kinds
)

// A mode decides how long a watch stays. Modes are bits, because one watch may
// have several.
type mode int

const (
	once       mode = 1 << iota
	persistent      // the watch stays after an event
	recursive       // persistent, and also for all znodes below
	allModes   = once | persistent | recursive
)

// Watches are the watches of one server. The zero value has none.
type Watches struct {
	tables [kinds]table
}

// A table holds the watches of one kind: for each path, the watchers and their
// modes, in the order in which the watches were set.
type table struct {
	byPath    map[string][]watch
	byWatcher map[Watcher]map[string]bool
	recursive int // number of recursive watches; if 0, `trigger` need not walk up to the root
}

type watch struct {
	who   Watcher
	modes mode
}

func (t *table) find(path string, w Watcher) int {
	for i, x := range t.byPath[path] {
		if x.who == w {
			return i
		}
	}
	return -1
}

// The method `modes` returns the modes of a watcher's watch on a path, or 0 if there is none.
func (t *table) modes(path string, w Watcher) mode {
	if i := t.find(path, w); i >= 0 {
		return t.byPath[path][i].modes
	}
	return 0
}

// The method `set` replaces the modes of a watcher's watch on a path. If `modes` is 0, the watch is
// removed.
func (t *table) set(path string, w Watcher, modes mode) {
	i := t.find(path, w)
	if i < 0 && modes == 0 {
		return
	}
	if t.byPath == nil {
		t.byPath, t.byWatcher = make(map[string][]watch), make(map[Watcher]map[string]bool)
	}
	if i < 0 {
		i = len(t.byPath[path])
		t.byPath[path] = append(t.byPath[path], watch{who: w})
		if t.byWatcher[w] == nil {
			t.byWatcher[w] = make(map[string]bool)
		}
		t.byWatcher[w][path] = true
	}
	list := t.byPath[path]
	t.recursive += int(modes&recursive)/int(recursive) - int(list[i].modes&recursive)/int(recursive)
	if list[i].modes = modes; modes == 0 {
		t.keep(path, slices.Delete(list, i, i+1))
		t.forget(path, w)
	}
}

// The method `keep` replaces the watches on a path by the given list.
func (t *table) keep(path string, list []watch) {
	if t.byPath[path] = list; len(list) == 0 {
		delete(t.byPath, path)
	}
}

// The method `forget` removes a path from the list of paths of a watcher.
func (t *table) forget(path string, w Watcher) {
	if delete(t.byWatcher[w], path); len(t.byWatcher[w]) == 0 {
		delete(t.byWatcher, w)
	}
}

// The method `watch` sets a watch that the first event removes.
func (t *Tree) watch(k kind, path string, w Watcher) {
	if w != nil {
		t.add(k, path, w, once)
	}
}

// AddPersistent sets a watch that stays after an event. If `below` is true, the watch also covers
// all znodes below path.
func (t *Tree) AddPersistent(path string, w Watcher, below bool) {
	if !below {
		t.add(data, path, w, persistent)
		t.add(children, path, w, persistent)
		return
	}
	t.add(data, path, w, recursive)
	if t.Rules.OneWatchMode {
		t.add(children, path, w, recursive)
	}
}

// add sets a watch. If the watcher already has a watch on the path, the mode is added to it. In
// older releases, the new mode replaces the old one, even if the new mode is weaker.
func (t *Tree) add(k kind, path string, w Watcher, m mode) {
	table := &t.Watches.tables[k]
	if !t.Rules.OneWatchMode {
		m |= table.modes(path, w)
	}
	table.set(path, w, m)
}

// The method `trigger` sends the event e to the watchers that e concerns, and returns all of these
// watchers. The event concerns a watcher that watches e.Path or has a recursive watch on an
// ancestor of e.Path. An event of the type EventChildrenChanged does not concern recursive watches.
//
// Two groups of these watchers receive no event:
//
//   - the watchers in the list `told`, because an earlier call for the same change returned them
//   - the watchers to which `acl` does not grant reading
//
// A one-time watch on e.Path is removed even if its watcher receives no event.
func (s *Watches) trigger(k kind, e Event, acl []wire.ACL, told []Watcher) []Watcher {
	t := &s.tables[k]
	if len(t.byPath) == 0 {
		return nil
	}
	var now []Watcher
	note := func(w Watcher) {
		// The list of one path has a watcher at most once. If there are recursive watches, the
		// lists of several ancestors may have the same watcher.
		if t.recursive == 0 || !slices.Contains(now, w) {
			now = append(now, w)
		}
	}
	above := t.recursive > 0
	for at := e.Path; ; {
		list := t.byPath[at]
		kept := make([]watch, 0, len(list))
		for _, x := range list {
			switch {
			case x.modes&recursive != 0 && e.Type != wire.EventChildrenChanged, x.modes&^recursive != 0 && at == e.Path:
				note(x.who)
			}
			if at == e.Path {
				x.modes &^= once
			}
			if x.modes == 0 {
				t.forget(at, x.who)
				continue
			}
			kept = append(kept, x)
		}
		if len(list) > 0 {
			t.keep(at, kept)
		}
		if !above || at == "/" {
			break
		}
		parent, _ := split(at)
		at = watchPath(parent)
	}
	for _, w := range now {
		if !slices.Contains(told, w) && allowed(acl, wire.PermRead, w.Auth()) == wire.OK {
			w.Event(e)
		}
	}
	return now
}

// A part selects some of the watches: those of one kind that have one of the given modes. A watcher
// type in a request covers one or more parts.
type part struct {
	k     kind
	modes mode
}

// The method `parts` returns the parts that a watcher type covers, or nil if the type is unknown.
func (t *Tree) parts(typ int32) []part {
	standard := once
	if t.Rules.OneWatchMode {
		standard = allModes // older releases have no types for the other modes
	}
	switch typ {
	case wire.WatcherChildren:
		return []part{{children, standard}}
	case wire.WatcherData:
		return []part{{data, standard}}
	case wire.WatcherAny:
		return []part{{children, allModes}, {data, allModes}}
	}
	if t.Rules.OneWatchMode {
		return nil
	}
	switch typ {
	case wire.WatcherPersistent:
		return []part{{data, persistent}, {children, persistent}}
	case wire.WatcherPersistentRecursive:
		return []part{{data, recursive}}
	}
	return nil
}

// HasWatch returns OK if the watcher has a watch of this type on path. In older releases a watch of
// any client on the same path is enough.
func (t *Tree) HasWatch(path string, typ int32, w Watcher) wire.Code {
	parts := t.parts(typ)
	if parts == nil {
		return wire.MarshallingError
	}
	for _, p := range parts {
		table := &t.Watches.tables[p.k]
		if table.modes(path, w)&p.modes != 0 || t.Rules.OneWatchMode && len(table.byPath[path]) > 0 {
			return wire.OK
		}
	}
	return wire.NoWatcher
}

// RemoveWatch removes the watcher's own watches of this type on a path.
func (t *Tree) RemoveWatch(path string, typ int32, w Watcher) wire.Code {
	parts := t.parts(typ)
	if parts == nil {
		return wire.MarshallingError
	}
	code := wire.NoWatcher
	for _, p := range parts {
		table := &t.Watches.tables[p.k]
		if has := table.modes(path, w); has&p.modes != 0 {
			table.set(path, w, has&^p.modes)
			code = wire.OK
		}
	}
	return code
}

// RemoveAll removes all watches of a watcher.
func (s *Watches) RemoveAll(w Watcher) {
	for k := range s.tables {
		t := &s.tables[k]
		for path := range t.byWatcher[w] { // any order, because no events are sent
			t.set(path, w, 0)
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

// OnData returns the number of watchers of data, the number of paths that they
// watch, and the number of their watches.
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

// Each calls f for every watch on data, sorted by path, and then in the order
// in which the watches were set.
func (s *Watches) Each(f func(path string, w Watcher)) {
	t := &s.tables[data]
	for _, path := range slices.Sorted(maps.Keys(t.byPath)) {
		for _, x := range t.byPath[path] {
			f(path, x.who)
		}
	}
}
