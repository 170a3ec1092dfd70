// Package waits recognizes the locks, elections, semaphores, groups and queues of zkcoord, Curator
// and kazoo by the paths of their znodes. It computes which client holds or leads, and which client
// waits for which other client. It also finds deadlocks: sessions that wait for each other in a
// cycle. It sends no requests: the caller passes the znodes.
package waits

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// A Node is a child of a directory.
type Node struct {
	Name    string
	Label   string // the znode's data
	Version int32  // of the data
	Session int64  // the session that owns the znode; 0 if the znode is not ephemeral
	Czxid   int64
	Created int64 // Unix time in milliseconds
}

// A Contender holds something or waits for it.
type Contender struct {
	Dir    string // the directory of the znode; it is the path of a lock or an election
	Node   Node
	Shared bool
	Waits  []string // paths of the znodes that it waits for; empty if it holds

	// The fields below are only for semaphores.
	Permits int  // number of permits that the contender holds
	AnyOf   bool // the contender waits for permits, until any znode of Waits is deleted
}

// Path returns the path of the contender's znode.
func (c Contender) Path() string { return znode.Join(c.Dir, c.Node.Name) }

// Holds reports whether the contender waits for nothing.
func (c Contender) Holds() bool { return len(c.Waits) == 0 && !c.AnyOf }

// The variable `naming` lists the suffixes that precede the number in the names of contenders. It
// covers the locks, read-write locks and elections of this module, of Curator and of kazoo.
var naming = lockqueue.Naming{
	Exclusive: []string{"lock-", "latch-", "__WRIT__", "__lock__"},
	Shared:    []string{"__READ__", "__rlock__"},
	Changing:  []string{"__WRIT__"},
}

// Downgraded reports whether c became a reader when the data of its znode was changed.
func Downgraded(c lockqueue.Contender) bool { return naming.Changed(c, 1) }

// Contenders returns the children of a directory that are contenders, in the order in which they
// are served. A shared contender waits for the exclusive contenders before it. An exclusive
// contender waits for all contenders before it. A writer that has become a reader counts as a
// shared contender.
func Contenders(dir string, children []Node) []Contender {
	type parsed struct {
		Contender
		place lockqueue.Contender
	}
	var line []parsed
	for _, child := range children {
		if c, ok := naming.Parse(child.Name); ok {
			shared := c.Kind == lockqueue.Shared || naming.Changed(c, child.Version)
			line = append(line, parsed{Contender{Dir: dir, Node: child, Shared: shared}, c})
		}
	}
	slices.SortStableFunc(line, func(a, b parsed) int { return lockqueue.Compare(a.place, b.place) })
	all := make([]Contender, len(line))
	for i, c := range line {
		for _, before := range line[:i] {
			if !c.Shared || !before.Shared {
				c.Waits = append(c.Waits, before.Path())
			}
		}
		all[i] = c.Contender
	}
	return all
}

// The expression `lease` matches the end of the name of a semaphore's lease. It extracts the number
// of permits from a lease of this module, and the sequence number from a lease of Curator.
var lease = regexp.MustCompile(`-lease-(\d+)$`)

// SemaphoreContenders returns the contenders of a semaphore of this module or of Curator. The
// holders of leases come first. They are followed by the contenders in the lock queue of the
// semaphore (see Gate), in the order in which they are served. The first contender in that lock
// queue waits until any holder releases permits.
func SemaphoreContenders(dir string, leases, gate []Node) []Contender {
	var all []Contender
	var held []string
	for _, child := range leases {
		m := lease.FindStringSubmatch(child.Name)
		if m == nil {
			continue
		}
		c := Contender{Dir: znode.Join(dir, "leases"), Node: child, Permits: 1}
		// A lease of this module has its number of permits in its name. A lease of Curator is one
		// permit, and has a sequence number.
		if len(m[1]) < sequenceDigits {
			c.Permits, _ = strconv.Atoi(m[1])
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Contender) int { return cmp.Compare(a.Node.Czxid, b.Node.Czxid) })
	for _, c := range all {
		held = append(held, c.Path())
	}
	for i, c := range Contenders(znode.Join(dir, Gate), gate) {
		if i == 0 {
			c.Waits, c.AnyOf = held, true
		}
		all = append(all, c)
	}
	return all
}

// sequenceDigits is the minimum number of digits of a sequence number.
const sequenceDigits = 10

// A Wait means that a session waits for a znode of another session, or for one of its own.
type Wait struct {
	Contender Contender
	For       Contender
}

// Deadlocks returns the cycles of sessions that wait for each other. A cycle is a list of waits:
// each session waits for the next session, and the last session waits for the first. A session that
// waits for itself is a cycle too. Each session is in at most one of the returned cycles. A cycle
// need not last: for example, a wait of one of its sessions may time out.
//
// Deadlocks ignores waits for contenders that do not hold anything. Do not pass contenders of
// semaphores, because such a contender waits for any one of several holders.
func Deadlocks(all []Contender) (circles [][]Wait) {
	byPath := make(map[string]Contender)
	for _, c := range all {
		byPath[c.Path()] = c
	}
	waits := make(map[int64][]Wait)
	var sessions []int64
	for _, c := range all {
		for _, path := range c.Waits {
			before := byPath[path]
			if c.Node.Session == 0 || before.Node.Session == 0 || !before.Holds() {
				continue
			}
			if waits[c.Node.Session] == nil {
				sessions = append(sessions, c.Node.Session)
			}
			waits[c.Node.Session] = append(waits[c.Node.Session], Wait{c, before})
		}
	}
	found := make(map[int64]bool)
	for _, session := range sessions {
		if circle := circleFrom(session, waits, found); circle != nil {
			for _, w := range circle {
				found[w.Contender.Node.Session] = true
			}
			circles = append(circles, circle)
		}
	}
	return circles
}

// circleFrom returns the waits of a shortest cycle from session to itself, or nil if there is none.
// The cycle contains no session of `found`: these sessions are in cycles that were found earlier.
func circleFrom(session int64, waits map[int64][]Wait, found map[int64]bool) []Wait {
	if found[session] {
		return nil
	}
	by := make(map[int64][]Wait) // the waits that lead to each session reached so far
	for next := []int64{session}; len(next) > 0; next = next[1:] {
		for _, w := range waits[next[0]] {
			to := w.For.Node.Session
			way := append(slices.Clone(by[next[0]]), w)
			if to == session {
				return way
			}
			if by[to] == nil && !found[to] {
				by[to] = way
				next = append(next, to)
			}
		}
	}
	return nil
}
