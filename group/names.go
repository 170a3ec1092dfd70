package group

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// The functions in this file make no requests. They parse names and compute changes.

// A Member is one member of a group.
type Member struct {
	ID   string
	Data []byte
	// Incarnation grows when the member joins again or changes its data.
	Incarnation Incarnation
}

// An Incarnation distinguishes successive members with the same id, and successive data of one
// member. A member that changes its data gets a new znode. An Incarnation is the zxid of the
// transaction that created the member's znode (the czxid of the znode), so the last incarnation is
// the largest.
type Incarnation int64

// A Change says which members a group has, and how they differ from the members
// of the previous Change.
type Change struct {
	Members []Member // all current members, sorted by id
	Joined  []Member
	Left    []Member // with their last data
	Updated []Member // members with new data, and members that joined again
}

// ErrID means that a member's id cannot be part of a znode's name. Use another
// id.
var ErrID = errors.New("group: bad member id")

func checkID(id string) error {
	if id == "" {
		return invalid.New("%w %q: must not be empty", ErrID, id)
	}
	if strings.Contains(id, "/") {
		return invalid.New("%w %q: must not contain /", ErrID, id)
	}
	if err := znode.Check("/" + id + "-"); err != nil {
		return invalid.New("%w %q: %w", ErrID, id, err)
	}
	return nil
}

// parseName returns the id in a znode's name, and whether the name is that of a
// member.
func parseName(name string) (id string, ok bool) {
	prefix, _, ok := znode.ParseSeq(name)
	if !ok || len(prefix) < 32+1+1+1 || prefix[32] != '-' || prefix[len(prefix)-1] != '-' {
		return "", false
	}
	if strings.Trim(prefix[:32], "0123456789abcdef") != "" {
		return "", false
	}
	return prefix[33 : len(prefix)-1], true
}

// The type `known` maps the names of znodes to the incarnations that were read from them.
type known map[string]Member

// members returns the last incarnation of each id.
func (k known) members() map[string]Member {
	last := make(map[string]Member, len(k))
	for _, m := range k {
		if m.Incarnation > last[m.ID].Incarnation {
			last[m.ID] = m
		}
	}
	return last
}

// sorted returns the members, sorted by id.
func sorted(members map[string]Member) []Member {
	return slices.SortedFunc(maps.Values(members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
}

// compare returns what changed between two sets of members, and whether anything changed.
func compare(before, after map[string]Member) (Change, bool) {
	c := Change{Members: sorted(after)}
	for _, m := range c.Members {
		old, was := before[m.ID]
		switch {
		case !was:
			c.Joined = append(c.Joined, m)
		case m.Incarnation != old.Incarnation:
			c.Updated = append(c.Updated, m)
		}
	}
	for _, m := range sorted(before) {
		if _, is := after[m.ID]; !is {
			c.Left = append(c.Left, m)
		}
	}
	return c, len(c.Joined)+len(c.Left)+len(c.Updated) > 0
}
