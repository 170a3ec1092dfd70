package lockqueue

import (
	"slices"
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// A Kind is the kind of place that a contender requests.
type Kind int

const (
	// An Exclusive contender waits for all contenders before it.
	Exclusive Kind = iota
	// A Shared contender waits only for the exclusive contenders before it.
	Shared
)

// A Contender is a child of a lock queue's directory that takes part in the lock queue.
type Contender struct {
	Name string
	Kind Kind
	Seq  znode.Seq

	suffix string // the suffix of Naming that matched the name
}

// A Naming defines which children of the directory take part in a lock queue. A child takes part if
// its name ends with one of the suffixes in Exclusive or Shared, followed by a number. All other
// children are ignored.
type Naming struct {
	Exclusive []string
	Shared    []string
	// Changing lists those suffixes in Exclusive whose contenders may call Place.Downgrade, which
	// changes the data of their znodes while they are served. All other exclusive contenders of
	// this package change these data only in Place.Leave.
	Changing []string
	// Silent means that contenders of this package leave no release marks. Set it if other programs
	// wait for these contenders and react only to deletions.
	Silent bool
}

// leavesMark reports whether c may leave a release mark when c departs after it was served. The
// release mark is a change of the data of c's znode. Only exclusive contenders of this package
// leave release marks, and only if n.Silent is not set. The names of this package's contenders
// begin with 32 hexadecimal digits and a dash.
func (n Naming) leavesMark(c Contender) bool {
	id, rest, ok := strings.Cut(c.Name, "-")
	return ok && !n.Silent && c.Kind == Exclusive && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" && rest != ""
}

// The method `changes` reports whether the data of c's znode may change while c is served.
func (n Naming) changes(c Contender) bool {
	return n.leavesMark(c) && slices.Contains(n.Changing, c.suffix)
}

// Changed reports whether the given version of c's znode shows that c has been served. Only a
// contender that has been served can be downgraded, and a downgrade sets the data of the
// contender's znode, which increases the version.
func (n Naming) Changed(c Contender, version int32) bool {
	return version > 0 && n.changes(c)
}

// Parse returns the contender that name denotes. It returns false if name denotes none.
func (n Naming) Parse(name string) (Contender, bool) {
	if c, ok := parse(name, Exclusive, n.Exclusive); ok {
		return c, true
	}
	return parse(name, Shared, n.Shared)
}

// parse finds the number by its length, and by the suffix in front of it. A search for digits with
// a sign would mistake the dash at the end of a suffix for a minus sign.
func parse(name string, kind Kind, suffixes []string) (Contender, bool) {
	for _, width := range []int{10, 11} { // the lengths of numbers formatted with %010d
		at := len(name) - width
		if at < 0 {
			break
		}
		for _, suffix := range suffixes {
			if !strings.HasSuffix(name[:at], suffix) {
				continue
			}
			if seq, ok := parseNumber(name[at:]); ok {
				return Contender{Name: name, Kind: kind, Seq: seq, suffix: suffix}, true
			}
		}
	}
	return Contender{}, false
}

// parseNumber parses a number that was formatted with %010d.
func parseNumber(s string) (znode.Seq, bool) {
	if s[0] == '+' || len(s) == 11 && s[0] != '-' {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 32)
	return znode.Seq(v), err == nil
}

// Suffix returns the part of the znode's name just before the number. It is one of the suffixes of
// the Naming.
func (c Contender) Suffix() string { return c.suffix }

// Queue returns the contenders among the children, in the order of the queue.
func (n Naming) Queue(children []string) []Contender {
	queue := make([]Contender, 0, len(children))
	for _, name := range children {
		if c, ok := n.Parse(name); ok {
			queue = append(queue, c)
		}
	}
	slices.SortFunc(queue, Compare)
	return queue
}

// Compare orders contenders by number. Normally the servers choose the numbers, so all numbers
// differ. Two contenders have the same number only if a client created a znode that is not
// sequential, and chose the whole name with the number. Then Compare orders the two by their names.
func Compare(a, b Contender) int {
	switch {
	case a.Seq == b.Seq:
		return strings.Compare(a.Name, b.Name)
	case a.Seq.Before(b.Seq):
		return -1
	}
	return 1
}

// A Decision says whether a contender is served, and otherwise for which contender it waits.
type Decision struct {
	// Present means that the contender is among the children. If Present is false, the list of
	// children is older than the contender's znode, or this znode is gone.
	Present bool
	// Ahead is the number of contenders that this contender has to wait for. If Ahead is 0 and
	// Present is true, this contender is served.
	Ahead int
	// Last is the nearest contender that this contender has to wait for. Only Last is watched, so
	// that a departure does not wake all contenders.
	Last Contender
}

// Served reports whether it is the contender's turn.
func (d Decision) Served() bool { return d.Present && d.Ahead == 0 }

// Decide returns the decision for the contender `me`, given the children.
func (n Naming) Decide(me Contender, children []string) Decision {
	var d Decision
	for _, name := range children {
		if name == me.Name {
			d.Present = true
			continue
		}
		c, ok := n.Parse(name)
		if !ok || !c.blocks(me) {
			continue
		}
		if d.Ahead++; d.Ahead == 1 || Compare(c, d.Last) > 0 {
			d.Last = c
		}
	}
	return d
}

// The method `blocks` reports whether the contender `me` has to wait for c.
func (c Contender) blocks(me Contender) bool {
	return Compare(c, me) < 0 && (me.Kind == Exclusive || c.Kind == Exclusive)
}
