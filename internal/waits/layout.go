package waits

import (
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// A Kind is the kind of a place, for example a lock or a queue.
type Kind string

// The kinds of places.
const (
	Lock      Kind = "lock"
	Election  Kind = "election"
	Semaphore Kind = "semaphore"
	Group     Kind = "group"
	Queue     Kind = "queue"
	// Internal znodes are those in which handles of counters, queues and barriers record which of
	// their requests were applied.
	Internal Kind = "internal"
)

// A Role is the meaning of one znode.
type Role struct {
	Kind  Kind
	Place string // the path of the lock, the election, the semaphore, the group or the queue
	// Contender is the znode's place in the lock queue of a lock or an election.
	Contender lockqueue.Contender
}

// Recognize returns the role of the znode at path in the layouts of this module, of Curator and of
// kazoo. It reads the path alone, so a znode of another program that chose such a name counts as
// well.
func Recognize(path string) (Role, bool) {
	dir, name := znode.Split(path)
	parent, base := znode.Split(dir)
	if c, ok := naming.Parse(name); ok {
		if strings.HasSuffix(prefixOf(c), "latch-") {
			return Role{Election, dir, c}, true
		}
		return Role{Lock, dir, c}, true
	}
	switch {
	case base == "leases" && strings.Contains(name, "-lease-"):
		return Role{Kind: Semaphore, Place: parent}, true
	case name == "c":
		if queue, ok := queueOf(dir); ok {
			return Role{Kind: Queue, Place: queue}, true
		}
		return Role{}, false
	case !ownID(name):
		return Role{}, false
	}
	prefix, _, sequential := znode.ParseSeq(name)
	switch {
	case !sequential:
		return Role{}, false
	case base == "marks", base == "waiters", strings.HasSuffix(prefix, "-add-"), strings.HasSuffix(prefix, "-member-") && isNumber(base):
		return Role{Kind: Internal, Place: parent}, true
	case len(prefix) > len("-")+32:
		return Role{Kind: Group, Place: dir}, true
	}
	return Role{}, false
}

// IsQueue reports whether a znode with these children is a queue of this module.
func IsQueue(children []string) bool {
	items, marks := false, false
	for _, name := range children {
		items, marks = items || name == "items", marks || name == "marks"
	}
	return items && marks
}

// ownID reports whether the name begins with 32 hexadecimal digits and a dash, like the names of
// this module and of kazoo's Party.
func ownID(name string) bool {
	return len(name) > 32 && name[32] == '-' && strings.Trim(name[:32], "0123456789abcdef") == ""
}

// prefixOf returns the name of a contender without its number.
func prefixOf(c lockqueue.Contender) string { return strings.TrimSuffix(c.Name, c.Seq.String()) }

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// queueOf returns the queue of the item at path: <queue>/items/<priority>/<segment>/<item>.
func queueOf(path string) (queue string, ok bool) {
	segment, _ := znode.Split(path)
	level, _ := znode.Split(segment)
	items, priority := znode.Split(level)
	queue, name := znode.Split(items)
	_, err := strconv.ParseInt(priority, 10, 64)
	return queue, name == "items" && err == nil
}
