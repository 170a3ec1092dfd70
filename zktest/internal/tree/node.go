package tree

import (
	"math"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A stat is the part of a znode's stat that is stored. Its cversion counts
// only the creates among the children; clients are told twice that number less
// the children that are there, which counts the deletes too.
type stat struct {
	czxid, mzxid, pzxid         int64
	ctime, mtime                int64
	version, cversion, aversion int32
	owner                       owner
}

// An owner tells what kind of node a znode is: 0 for a plain one, the session
// for an ephemeral, containerOwner, or a time to live under ttlMask.
type owner int64

const (
	containerOwner owner = math.MinInt64
	ttlMask        owner = -1 << 56
	maxTTL               = 1<<40 - 1 // milliseconds
)

func ttlOwner(ms int64) owner { return ttlMask | owner(ms) }

// ttl returns the time to live in milliseconds, 0 for a node without one.
// Ids of sessions never reach the mask: their first byte is that of a server.
func (o owner) ttl() int64 {
	if o&ttlMask == ttlMask {
		return int64(o &^ ttlMask)
	}
	return 0
}

// ephemeral reports whether the owner is a session.
func (o owner) ephemeral() bool { return o != 0 && o != containerOwner && o.ttl() == 0 }

// A node is one znode. Its data and ACL are never changed in place: replicas
// share them.
type node struct {
	stat
	data     []byte
	acl      []wire.ACL // nil grants everything to everyone
	children set
}

func (n *node) wireStat() wire.Stat {
	s := wire.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Pzxid: n.pzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Cversion: n.cversion*2 - int32(n.children.len()), Aversion: n.aversion,
		DataLength: int32(len(n.data)), NumChildren: int32(n.children.len()),
	}
	if n.owner.ephemeral() {
		s.EphemeralOwner = int64(n.owner)
	}
	return s
}

var (
	openACL = []wire.ACL{{Perms: wire.PermAll, ID: wire.ID{Scheme: "world", ID: "anyone"}}}
	readACL = []wire.ACL{{Perms: wire.PermRead, ID: wire.ID{Scheme: "world", ID: "anyone"}}}
)
