package watch

import (
	"bytes"
	"fmt"

	"github.com/zkcoord/zkcoord/session"
)

// A Kind is what became of a znode between two looks at it.
type Kind int

const (
	// Same: it is what it was.
	Same Kind = iota
	// Initial: this is the first look.
	Initial
	// Created: it did not exist before.
	Created
	// Changed: its data was set, be it to the same bytes; or the servers have lost
	// what was told before, and have other data.
	Changed
	// Deleted: it no longer exists.
	Deleted
	// Recreated: it was deleted and created anew.
	Recreated
)

func (k Kind) String() string {
	switch k {
	case Same:
		return "same"
	case Initial:
		return "initial"
	case Created:
		return "created"
	case Changed:
		return "changed"
	case Deleted:
		return "deleted"
	case Recreated:
		return "recreated"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// kindOf compares two looks at a znode; without a stat there was none.
func kindOf(old, now session.Value) Kind {
	switch {
	case old.Stat == nil && now.Stat == nil:
		return Same
	case old.Stat == nil:
		return Created
	case now.Stat == nil:
		return Deleted
	case !sameNode(old.Stat, now.Stat):
		return Recreated
	case !sameData(old, now):
		return Changed
	}
	return Same
}

// sameNode reports whether two looks found one znode, and not another that was
// created in its place.
//
// It compares no versions: a recreated znode starts with version 0 again, and
// may have reached the version of the old one. The czxid is enough while the
// ensemble keeps its data. One that was wiped, or restored from a backup,
// assigns the same zxids again, but at other times.
func sameNode(old, now *session.Stat) bool { return old.Czxid == now.Czxid && old.Ctime == now.Ctime }

// sameData reports whether nobody set the data of a znode between two looks.
// For what the time and the data are compared, see sameNode.
func sameData(old, now session.Value) bool {
	return old.Stat.Mzxid == now.Stat.Mzxid && old.Stat.Mtime == now.Stat.Mtime && bytes.Equal(old.Data, now.Data)
}
