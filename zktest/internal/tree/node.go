package tree

import (
	"math"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A stat is the stored part of a znode's stat. Its cversion counts only the created children.
// Clients receive twice that number minus the current number of children. So each creation and each
// deletion of a child increases the number that clients receive by one.
type stat struct {
	czxid, mzxid, pzxid         int64
	ctime, mtime                int64
	version, cversion, aversion int32
	owner                       owner
}

// An owner encodes the kind of a znode. It is 0 for a plain znode, the session id for an ephemeral
// one, and containerOwner for a container. For a znode with a time to live, it is ttlMask combined
// with that time.
type owner int64

const (
	containerOwner owner = math.MinInt64
	ttlMask        owner = -1 << 56
	maxTTL               = 1<<40 - 1 // milliseconds
)

func ttlOwner(ms int64) owner { return ttlMask | owner(ms) }

// The method `ttl` returns the time to live in milliseconds, or 0 for a znode without one. The
// first byte of the mask is 255. Session ids never match the mask, because their first byte is the
// id of a server, which is at most 254.
func (o owner) ttl() int64 {
	if o&ttlMask == ttlMask {
		return int64(o &^ ttlMask)
	}
	return 0
}

// The method `ephemeral` reports whether the owner is a session.
func (o owner) ephemeral() bool { return o != 0 && o != containerOwner && o.ttl() == 0 }

// The type `node` is a znode. Its data and ACL are never modified in place, because
// replicas share them.
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
