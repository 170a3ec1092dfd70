package watch

import (
	"fmt"

	"github.com/go-zookeeper/zk"
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
	// Changed: its data was set, be it to the same bytes.
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

// kindOf compares two looks at a znode; nil is that there was none.
//
// By czxid and mzxid, not by version: a znode that was created anew starts
// with version 0 again, and may have got to where the old one was.
func kindOf(old, now *zk.Stat) Kind {
	switch {
	case old == nil && now == nil:
		return Same
	case old == nil:
		return Created
	case now == nil:
		return Deleted
	case old.Czxid != now.Czxid:
		return Recreated
	case old.Mzxid != now.Mzxid:
		return Changed
	}
	return Same
}
