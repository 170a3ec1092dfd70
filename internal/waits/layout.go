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
	// Internal znodes are the ledger znodes of counters and queues, the clients that wait at
	// queues, and the members of barriers.
	Internal Kind = "internal"
)

// Gate is the name of a semaphore's lock queue, in which contenders for the permits wait. The lock
// queue is below the path of the semaphore.
const Gate = "locks"

// A Role is the meaning of one znode.
type Role struct {
	Kind  Kind
	Place string // the path of the lock, the election, the semaphore, the group or the queue
	// Name is the name of a group's member or of a claimed item. It is empty if the member's name
	// is only in the znode's data.
	Name string
	Item string // the path of the claimed item, if the znode is a claim
	// Contender is the znode's place in the lock queue of a lock or an election. For any other
	// znode, Contender.Name is empty.
	Contender lockqueue.Contender
	// Label is the index in the znode's data at which the label of the client begins.
	Label int
}

// Recognize returns the role of the znode at path in the layouts of this module, of Curator and of
// kazoo. Only the path decides. So Recognize also returns a role for a znode of another program
// that has such a path. [Layouts] recognizes more znodes.
func Recognize(path string) (Role, bool) {
	dir, name := znode.Split(path)
	parent, base := znode.Split(dir)
	if c, ok := naming.Parse(name); ok {
		if c.Suffix() == "latch-" {
			return Role{Kind: Election, Place: dir, Contender: c}, true
		}
		return Role{Kind: Lock, Place: dir, Contender: c}, true
	}
	switch {
	case base == "leases" && strings.Contains(name, "-lease-"):
		return Role{Kind: Semaphore, Place: parent}, true
	case name == "c":
		if queue, item, ok := queueOf(dir); ok {
			return Role{Kind: Queue, Place: queue, Name: item, Item: dir}, true
		}
		return Role{}, false
	case base == "taken" && strings.HasPrefix(name, "entry-"): // kazoo's LockingQueue
		return Role{Kind: Queue, Place: parent, Name: name, Item: znode.Join(parent, "entries/"+name)}, true
	case !startsWithID(name):
		return Role{}, false
	}
	prefix, _, sequential := znode.ParseSeq(name)
	switch rest := name[idLength:]; {
	case rest == "__party__": // kazoo's Party
		return Role{Kind: Group, Place: dir}, true
	case rest == "" || rest[0] != '-':
		return Role{}, false
	case !sequential: // kazoo's ShallowParty
		return Role{Kind: Group, Place: dir, Name: rest[1:]}, true
	case strings.HasSuffix(prefix, "-add-"):
		return Role{Kind: Internal, Place: dir}, true
	case base == "marks", base == "waiters", strings.HasSuffix(prefix, "-member-") && isNumber(base):
		return Role{Kind: Internal, Place: parent}, true
	case len(prefix) > idLength+1:
		return Role{Kind: Group, Place: dir, Name: strings.TrimSuffix(prefix[idLength+1:], "-")}, true
	}
	return Role{}, false
}

// A Znode has the properties by which [Layouts] recognizes a znode.
type Znode struct {
	Path      string
	Data      []byte
	Ephemeral bool
	Container bool
}

// Directory reports whether [Layouts] needs this znode to recognize ephemeral znodes. It returns
// true for containers, and for the locks that guard semaphores of kazoo.
func (z Znode) Directory() bool {
	return !z.Ephemeral && (z.Container || strings.HasSuffix(z.Path, kazooGate))
}

// kazooGate is the end of the path of the lock that guards a semaphore of kazoo. The rest of this
// path is the path of the semaphore.
const kazooGate = "-__lock__"

// Layouts recognizes znodes like [Recognize], and also these znodes, whose paths do not show their
// roles:
//
//   - a lock.Exclusive of this module, by its data;
//   - a lease of kazoo's Semaphore, by the lock that guards the semaphore;
//   - a member of Curator's GroupMember, which is any ephemeral znode directly in a container.
//
// The zero value is ready for use, and has no directories.
type Layouts struct {
	container map[string]bool // for each directory, whether it is a container
}

// Create returns the role of a znode that is created. Call Create for the directories above the
// znode first.
func (l *Layouts) Create(z Znode) (Role, bool) {
	role, ok := Recognize(z.Path)
	if z.Directory() {
		if l.container == nil {
			l.container = make(map[string]bool)
		}
		l.container[z.Path] = z.Container
	}
	if ok || !z.Ephemeral {
		return role, ok
	}
	dir, name := znode.Split(z.Path)
	_, guarded := l.container[dir+kazooGate]
	switch {
	case len(z.Data) > idLength && z.Data[idLength] == ' ' && startsWithID(string(z.Data[:idLength])):
		return Role{Kind: Lock, Place: z.Path, Label: idLength + 1}, true
	case guarded && len(name) == idLength && startsWithID(name):
		return Role{Kind: Semaphore, Place: dir}, true
	case l.container[dir]:
		return Role{Kind: Group, Place: dir, Name: name}, true
	}
	return Role{}, false
}

// Delete forgets a znode that is deleted.
func (l *Layouts) Delete(path string) { delete(l.container, path) }

// IsQueue reports whether a znode with these children is a queue of this module.
func IsQueue(children []string) bool {
	items, marks := false, false
	for _, name := range children {
		items, marks = items || name == "items", marks || name == "marks"
	}
	return items && marks
}

// idLength is the length of the hexadecimal IDs with which names of this module and of kazoo begin.
const idLength = 32

func startsWithID(name string) bool {
	return len(name) >= idLength && strings.Trim(name[:idLength], "0123456789abcdef") == ""
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// queueOf returns the queue of the item at path: <queue>/items/<priority>/<segment>/<item>. The
// name of the item is the part of the path after "items/".
func queueOf(path string) (queue, name string, ok bool) {
	segment, _ := znode.Split(path)
	level, _ := znode.Split(segment)
	items, priority := znode.Split(level)
	queue, base := znode.Split(items)
	if _, err := strconv.ParseInt(priority, 10, 64); base != "items" || err != nil {
		return "", "", false
	}
	return queue, path[len(items)+1:], true
}
