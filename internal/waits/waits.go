// Package waits finds out who holds the locks and leads the elections of an ensemble, who
// waits for whom, and which of them wait for each other in a circle. It is a function of what was
// read, without I/O. It knows the nodes of this module, of Curator and of kazoo.
package waits

import (
	"cmp"
	"slices"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// A Node is a child of a directory, as it was read.
type Node struct {
	Name    string
	Label   string // its data
	Session int64  // that it belongs to; 0 for one that is not ephemeral
	Czxid   int64
	Created int64 // Unix time in milliseconds
}

// A Contender is one that holds something or waits for it.
type Contender struct {
	Dir    string // the path of the lock or the election
	Node   Node
	Shared bool
	Waits  []string // paths of the nodes that it waits for; none means that it holds
}

// Path is the path of its node.
func (c Contender) Path() string { return znode.Join(c.Dir, c.Node.Name) }

// Holds reports whether it waits for nobody.
func (c Contender) Holds() bool { return len(c.Waits) == 0 }

// naming has what the names of contenders hold before the number: those of locks, read-write locks and
// elections of the three libraries.
var naming = lockqueue.Naming{
	Exclusive: []string{"lock-", "latch-", "__WRIT__", "__lock__"},
	Shared:    []string{"__READ__", "__rlock__"},
}

// Queue returns those children of a directory that contend, in the order in which they are served. A
// shared one waits for the exclusive ones before it, an exclusive one for all before it.
func Queue(dir string, children []Node) []Contender {
	type parsed struct {
		Contender
		seq znode.Seq
	}
	var line []parsed
	for _, child := range children {
		if c, ok := naming.Parse(child.Name); ok {
			line = append(line, parsed{Contender{Dir: dir, Node: child, Shared: c.Kind == lockqueue.Shared}, c.Seq})
		}
	}
	slices.SortStableFunc(line, func(a, b parsed) int {
		switch {
		case a.seq == b.seq:
			return cmp.Compare(a.Node.Name, b.Node.Name)
		case a.seq.Before(b.seq):
			return -1
		}
		return 1
	})
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

// A Wait is that one session waits for a node of another.
type Wait struct {
	Contender Contender
	For       Contender
}

// Deadlocks returns the circles of sessions that wait for each other, each as the waits that make it: the
// session of the last one is waited for by the first. Each session is in one circle at most. A session that
// has other work to do may still get out of one: only its program knows.
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

// circleFrom returns the waits of a shortest circle that leads from session to itself, past none that
// is found already.
func circleFrom(session int64, waits map[int64][]Wait, found map[int64]bool) []Wait {
	if found[session] {
		return nil
	}
	by := make(map[int64][]Wait) // the way to each session that was reached
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
