package tree

import (
	"maps"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

const (
	procPath   = "/zookeeper"
	quotaPath  = "/zookeeper/quota"
	configPath = "/zookeeper/config"
)

// The function `special` reports whether the znode at path cannot be deleted.
func special(path string) bool {
	return path == "/" || path == procPath || path == quotaPath || path == configPath
}

// A Tree is the state of one replica after the transactions up to Zxid. Use New
// to create one.
type Tree struct {
	Zxid    int64
	Watches Watches
	Rules   Rules

	seed       uint64           // draws the order of children and of ephemeral znodes
	nodes      map[string]*node // contains the root twice, as "" and as "/"
	sessions   map[int64]int32  // timeouts, in milliseconds
	ephemerals map[int64]*set
	reaped     set // what the leader may delete: containers, and znodes with a time to live
	bytes      int64
}

// New returns the tree of a new ensemble. The argument `config` is the content of
// /zookeeper/config, or "" for a standalone server. ZooKeeper lists the children of a znode in the
// order of a hash table. Here, the seed decides the order.
func New(config string, rules Rules, seed uint64) *Tree {
	t := &Tree{
		seed:       seed,
		Rules:      rules,
		nodes:      make(map[string]*node),
		sessions:   make(map[int64]int32),
		ephemerals: make(map[int64]*set),
	}
	root := &node{data: []byte{}}
	t.nodes[""], t.nodes["/"] = root, root
	for _, path := range []string{procPath, quotaPath, configPath} {
		t.nodes[path] = &node{data: []byte{}}
		parent, name := split(path)
		t.nodes[parent].children.add(name, seed)
	}
	c := t.nodes[configPath]
	c.acl, c.data, c.aversion = readACL, []byte(config), -1
	if config != "" {
		c.version = -1
	}
	return t
}

// Clone returns a copy that shares no mutable state and has no watches.
func (t *Tree) Clone() *Tree {
	c := &Tree{
		Rules: t.Rules, seed: t.seed, Zxid: t.Zxid, bytes: t.bytes, reaped: t.reaped.clone(),
		nodes:      make(map[string]*node, len(t.nodes)),
		sessions:   maps.Clone(t.sessions),
		ephemerals: make(map[int64]*set, len(t.ephemerals)),
	}
	for path, n := range t.nodes {
		if path == "" {
			continue
		}
		m := *n
		m.children = n.children.clone()
		c.nodes[path] = &m
	}
	c.nodes[""] = c.nodes["/"]
	for id, s := range t.ephemerals {
		s := s.clone()
		c.ephemerals[id] = &s
	}
	return c
}

// The function `split` splits a path at its last slash. The parent of "/a" is "", which is an alias
// of the root. If there is no slash, both results are empty.
func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", ""
	}
	return path[:i], path[i+1:]
}

// watchPath replaces the alias of the root by "/".
func watchPath(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// Apply applies a transaction and notifies the watchers.
func (t *Tree) Apply(txn *Txn) Result {
	r := t.apply(txn)
	t.Zxid = max(t.Zxid, txn.Zxid)
	return r
}

func (t *Tree) apply(txn *Txn) Result {
	r := Result{Op: txn.Op, Path: txn.Path}
	switch txn.Op {
	case wire.OpError:
		r.Err = txn.Err
	case wire.OpCreate, wire.OpCreate2, wire.OpCreateTTL, wire.OpCreateContainer:
		r.Stat, r.Err = t.create(txn)
	case wire.OpDelete, wire.OpDeleteContainer:
		r.Err = t.remove(txn.Path, txn.Zxid)
	case wire.OpSetData:
		r.Stat, r.Err = t.setData(txn)
	case wire.OpSetACL:
		r.Stat, r.Err = t.setACL(txn)
	case OpSetSequence:
		t.nodes[txn.Path].cversion = txn.Version
	case wire.OpCreateSession:
		t.sessions[txn.Session] = txn.Timeout
	case wire.OpCloseSession:
		delete(t.sessions, txn.Session)
		for _, path := range txn.Paths {
			t.remove(path, txn.Zxid)
		}
		delete(t.ephemerals, txn.Session)
	case wire.OpMulti:
		for i := range txn.Subs {
			sub := t.apply(&txn.Subs[i])
			r.Subs = append(r.Subs, sub)
			if r.Err == wire.OK {
				r.Err = sub.Err
			}
		}
	}
	return r
}

// The method `trigger` calls Watches.trigger with the event of a transaction.
func (t *Tree) trigger(k kind, path string, e wire.EventType, zxid int64, acl []wire.ACL, told []Watcher) []Watcher {
	if t.Rules.NoEventZxid {
		zxid = NoZxid
	}
	return t.Watches.trigger(k, Event{Type: e, Path: path, Zxid: zxid}, acl, told)
}

func (t *Tree) create(txn *Txn) (wire.Stat, wire.Code) {
	parentPath, name := split(txn.Path)
	parent := t.nodes[parentPath]
	if parent == nil {
		return wire.Stat{}, wire.NoNode
	}
	if parent.children.has(name) {
		return wire.Stat{}, wire.NodeExists
	}
	if txn.Version > parent.cversion {
		parent.cversion, parent.pzxid = txn.Version, txn.Zxid
	}
	n := &node{data: txn.Data, acl: txn.ACL, stat: stat{
		czxid: txn.Zxid, mzxid: txn.Zxid, pzxid: txn.Zxid,
		ctime: txn.Time, mtime: txn.Time, owner: txn.Owner,
	}}
	parent.children.add(name, t.seed)
	t.nodes[txn.Path] = n
	t.bytes += int64(len(txn.Path) + len(txn.Data))
	if n.owner.ephemeral() {
		own := t.ephemerals[int64(n.owner)]
		if own == nil {
			own = &set{}
			t.ephemerals[int64(n.owner)] = own
		}
		own.add(txn.Path, t.seed)
	} else if n.owner != 0 {
		t.reaped.add(txn.Path, t.seed)
	}
	st := n.wireStat()
	t.trigger(data, txn.Path, wire.EventCreated, txn.Zxid, n.acl, nil)
	t.trigger(children, watchPath(parentPath), wire.EventChildrenChanged, txn.Zxid, parent.acl, nil)
	return st, wire.OK
}

func (t *Tree) remove(path string, zxid int64) wire.Code {
	parentPath, name := split(path)
	parent, n := t.nodes[parentPath], t.nodes[path]
	if parent == nil || n == nil {
		return wire.NoNode
	}
	parent.children.remove(name)
	parent.pzxid = max(parent.pzxid, zxid)
	delete(t.nodes, path)
	t.bytes -= int64(len(path) + len(n.data))
	if own := t.ephemerals[int64(n.owner)]; own != nil {
		own.remove(path)
	}
	t.reaped.remove(path)
	told := t.trigger(data, path, wire.EventDeleted, zxid, n.acl, nil)
	t.trigger(children, path, wire.EventDeleted, zxid, n.acl, told)
	t.trigger(children, watchPath(parentPath), wire.EventChildrenChanged, zxid, parent.acl, nil)
	return wire.OK
}

func (t *Tree) setData(txn *Txn) (wire.Stat, wire.Code) {
	n := t.nodes[txn.Path]
	if n == nil {
		return wire.Stat{}, wire.NoNode
	}
	t.bytes += int64(len(txn.Data) - len(n.data))
	n.data, n.mtime, n.mzxid, n.version = txn.Data, txn.Time, txn.Zxid, txn.Version
	st := n.wireStat()
	t.trigger(data, txn.Path, wire.EventDataChanged, txn.Zxid, n.acl, nil)
	return st, wire.OK
}

func (t *Tree) setACL(txn *Txn) (wire.Stat, wire.Code) {
	n := t.nodes[txn.Path]
	if n == nil {
		return wire.Stat{}, wire.NoNode
	}
	n.acl, n.aversion = txn.ACL, txn.Version
	return n.wireStat(), wire.OK
}
