package watch

import (
	"bytes"
	"fmt"

	"github.com/zkcoord/zkcoord/session"
)

// A Kind is the kind of change of a znode between two reads.
type Kind int

const (
	// Same: nothing has changed.
	Same Kind = iota
	// Initial: this is the first read.
	Initial
	// Created: the znode did not exist before.
	Created
	// Changed: the data was set, possibly to the same bytes. The kind is also Changed if the
	// servers have lost the state that was reported before and now have the same znode with other
	// data.
	Changed
	// Deleted: the znode no longer exists.
	Deleted
	// Recreated: the znode was deleted and created again.
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

// kindOf compares two reads of a znode. A nil stat means that there was no
// znode.
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

// sameNode reports whether two reads found the same znode, and not another one
// that was created in its place.
//
// It compares no versions: a recreated znode starts with version 0 again, and may have reached the
// version of the old one. The czxid is enough as long as the ensemble keeps its data. An ensemble
// that was wiped, or restored from a backup, assigns the same zxids again, but at other times. So
// sameNode compares the times of creation too.
func sameNode(old, now *session.Stat) bool { return old.Czxid == now.Czxid && old.Ctime == now.Ctime }

// sameData reports whether the data of a znode was not set between two reads.
// It also compares the time and the data, for the reason that sameNode gives.
func sameData(old, now session.Value) bool {
	return old.Stat.Mzxid == now.Stat.Mzxid && old.Stat.Mtime == now.Stat.Mtime && bytes.Equal(old.Data, now.Data)
}
