package tree

import (
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Reader describes the client that sends a read: its identities and, if the read sets a watch,
// its watcher.
type Reader struct {
	Auth    []wire.ID
	Watcher Watcher // nil sets no watch
}

// The method `readable` returns the znode at path, and whether the reader may read it.
func (t *Tree) readable(path string, r Reader) (*node, wire.Code) {
	n := t.nodes[path]
	if n == nil {
		return nil, wire.NoNode
	}
	return n, allowed(n.acl, wire.PermRead, r.Auth)
}

// Exists returns the stat of a znode. It sets the watch even if there is no znode. If the reader
// may not read the znode, Exists returns NoAuth and sets no watch. Older releases ignore this
// permission.
func (t *Tree) Exists(path string, r Reader) (wire.Stat, wire.Code) {
	if strings.IndexByte(path, 0) >= 0 {
		return wire.Stat{}, wire.BadArguments
	}
	n, code := t.readable(path, r)
	if code == wire.NoAuth && !t.Rules.OpenExists {
		return wire.Stat{}, code
	}
	t.watch(data, path, r.Watcher)
	if n == nil {
		return wire.Stat{}, wire.NoNode
	}
	return n.wireStat(), wire.OK
}

// Get returns the data and the stat of a znode.
func (t *Tree) Get(path string, r Reader) ([]byte, wire.Stat, wire.Code) {
	n, code := t.readable(path, r)
	if code != wire.OK {
		return nil, wire.Stat{}, code
	}
	t.watch(data, path, r.Watcher)
	return n.data, n.wireStat(), wire.OK
}

// Children returns the names of a znode's children, in no particular order, and
// its stat. The slice is valid until the next change.
func (t *Tree) Children(path string, r Reader) ([]string, wire.Stat, wire.Code) {
	n, code := t.readable(path, r)
	if code != wire.OK {
		return nil, wire.Stat{}, code
	}
	t.watch(children, path, r.Watcher)
	return n.children.items, n.wireStat(), wire.OK
}

// Descendants returns the number of znodes below a znode.
func (t *Tree) Descendants(path string, r Reader) (int, wire.Code) {
	if _, code := t.readable(path, r); code != wire.OK {
		return 0, code
	}
	if path == "/" {
		return len(t.nodes) - 2, wire.OK
	}
	count := 0
	for p := range t.nodes {
		if strings.HasPrefix(p, path+"/") {
			count++
		}
	}
	return count, wire.OK
}

// ACL returns the ACL and the stat of a znode. If the reader may not administer
// the znode, the digests are masked.
func (t *Tree) ACL(path string, r Reader) ([]wire.ACL, wire.Stat, wire.Code) {
	n := t.nodes[path]
	if n == nil {
		return nil, wire.Stat{}, wire.NoNode
	}
	if code := allowed(n.acl, wire.PermRead|wire.PermAdmin, r.Auth); code != wire.OK {
		return nil, wire.Stat{}, code
	}
	acl := n.acl
	if acl == nil {
		acl = openACL
	}
	if allowed(acl, wire.PermAdmin, r.Auth) != wire.OK {
		acl = slices.Clone(acl)
		for i, a := range acl {
			if user, _, ok := strings.Cut(a.ID.ID, ":"); ok && a.Scheme == "digest" {
				acl[i].ID.ID = user + ":x"
			}
		}
	}
	return acl, n.wireStat(), wire.OK
}

// Ephemerals returns the paths of a session's ephemeral znodes. It leaves out paths that do not
// start with prefix.
func (t *Tree) Ephemerals(session int64, prefix string) []string {
	paths := []string{}
	own := t.ephemerals[session]
	if own == nil {
		return paths
	}
	trimmed := strings.TrimSpace(strings.TrimPrefix(prefix, wire.Null))
	for _, p := range own.items {
		if trimmed == "" || trimmed == "/" || strings.HasPrefix(p, prefix) {
			paths = append(paths, p)
		}
	}
	return paths
}

// Sessions returns the ids of all sessions in ascending order, and a function
// that returns their timeouts in milliseconds.
func (t *Tree) Sessions() (ids []int64, timeout func(id int64) (int32, bool)) {
	for id := range t.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, func(id int64) (int32, bool) { ms, ok := t.sessions[id]; return ms, ok }
}

// Reapable returns the containers that have lost all their children, and the znodes without
// children whose time to live has ended. The argument `now` is the current time in milliseconds
// since 1970.
func (t *Tree) Reapable(now int64) []string {
	var paths []string
	for _, path := range t.reaped.items {
		n := t.nodes[path]
		if n.children.len() > 0 {
			continue
		}
		ttl := n.owner.ttl()
		if n.owner == containerOwner && n.cversion > 0 || ttl > 0 && now-n.mtime > ttl {
			paths = append(paths, path)
		}
	}
	return paths
}

// Counts are the numbers of a tree that the four-letter word mntr shows.
type Counts struct {
	Nodes, Ephemerals, Sessions int
	Bytes                       int64
}

// Counts returns the size of the tree.
func (t *Tree) Counts() Counts {
	c := Counts{Nodes: len(t.nodes), Sessions: len(t.sessions), Bytes: t.bytes}
	for _, s := range t.ephemerals {
		c.Ephemerals += s.len()
	}
	return c
}

// SetWatches sets the watches that a client had on another connection. If a znode has changed since
// the zxid in the request, SetWatches sends the event at once, and does not set the watch. A client
// that may not read the znode receives no such event. Older releases send it nevertheless.
func (t *Tree) SetWatches(r *wire.SetWatches2Request, w Watcher) {
	renew := func(k kind, paths []string, stale func(*node) wire.EventType) {
		for _, path := range paths {
			n := t.nodes[path]
			e := stale(n)
			switch {
			case e == 0:
				t.watch(k, path, w)
			case n == nil || t.Rules.OpenCatchUp || allowed(n.acl, wire.PermRead, w.Auth()) == wire.OK:
				w.Event(Event{Type: e, Path: path, Zxid: NoZxid})
			}
		}
	}
	since := func(e wire.EventType, zxid func(*node) int64) func(*node) wire.EventType {
		return func(n *node) wire.EventType {
			switch {
			case n == nil:
				return wire.EventDeleted
			case zxid(n) > r.RelativeZxid:
				return e
			}
			return 0
		}
	}
	renew(data, r.Data, since(wire.EventDataChanged, func(n *node) int64 { return n.mzxid }))
	renew(data, r.Exist, func(n *node) wire.EventType {
		if n != nil {
			return wire.EventCreated
		}
		return 0
	})
	renew(children, r.Child, since(wire.EventChildrenChanged, func(n *node) int64 { return n.pzxid }))
	for _, path := range r.Persistent {
		t.AddPersistent(path, w, false)
	}
	for _, path := range r.PersistentRecursive {
		t.AddPersistent(path, w, true)
	}
}
