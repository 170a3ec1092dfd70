package lockqueue

import (
	"slices"
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/znode"
)

// A Kind is what a contender asks for.
type Kind int

const (
	// Exclusive waits for everybody before it.
	Exclusive Kind = iota
	// Shared waits for the exclusive ones before it.
	Shared
)

// A Contender is one child of a lock queue's directory that stands in the lock queue.
type Contender struct {
	Name string
	Kind Kind
	Seq  znode.Seq

	suffix string // that says what kind it is
}

// Naming says which children stand in a lock queue, by what their names hold before
// the number. Other children are ignored.
type Naming struct {
	Exclusive []string
	Shared    []string
	// Changing are those of Exclusive whose nodes of this package may change
	// their data while they are served. The others change theirs only when
	// they leave: see Claim.Leave.
	Changing []string
	// Silent says that none of this package sign: see signs. Candidates of other
	// programs that wait on them may look at deletions only.
	Silent bool
}

// leavesMark reports whether the contender, when it leaves after having been
// served, sets its node's data in the transaction that deletes it: those of
// this package that are exclusive do. They have 32 hexadecimal digits and a
// dash before what kind they are.
func (n Naming) leavesMark(c Contender) bool {
	id, rest, ok := strings.Cut(c.Name, "-")
	return ok && !n.Silent && c.Kind == Exclusive && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" && rest != ""
}

// changes reports whether the contender's data may change while it is served.
func (n Naming) changes(c Contender) bool {
	return n.leavesMark(c) && slices.Contains(n.Changing, c.suffix)
}

// Changed reports whether the data of c's node, which has the given version,
// says that c has been served: a writer was downgraded.
func (n Naming) Changed(c Contender, version int32) bool {
	return version > 0 && n.changes(c)
}

// Parse returns the contender that name stands for, if it does.
func (n Naming) Parse(name string) (Contender, bool) {
	if c, ok := parse(name, Exclusive, n.Exclusive); ok {
		return c, true
	}
	return parse(name, Shared, n.Shared)
}

// parse knows where the number begins by the suffix before it. Its sign could
// not be told from a dash at the end of the name otherwise.
func parse(name string, kind Kind, suffixes []string) (Contender, bool) {
	for _, width := range []int{10, 11} { // what %010d takes
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

// parseNumber reads what %010d wrote.
func parseNumber(s string) (znode.Seq, bool) {
	if s[0] == '+' || len(s) == 11 && s[0] != '-' {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 32)
	return znode.Seq(v), err == nil
}

// Contenders returns the contenders among the children, first come first.
func (n Naming) Queue(children []string) []Contender {
	queue := make([]Contender, 0, len(children))
	for _, name := range children {
		if c, ok := n.Parse(name); ok {
			queue = append(queue, c)
		}
	}
	slices.SortFunc(queue, compare)
	return queue
}

// compare orders by number; names break the tie that only foreign hands can make.
func compare(a, b Contender) int {
	switch {
	case a.Seq == b.Seq:
		return strings.Compare(a.Name, b.Name)
	case a.Seq.Before(b.Seq):
		return -1
	}
	return 1
}

// A Decision is what a contender is to do.
type Decision struct {
	// Present says that the contender is among the children. If not, the
	// list is older than its node, or the node is gone.
	Present bool
	// Ahead is how many it has to wait for. With none it is served.
	Ahead int
	// Last of those is the one to wait on: the nearest. So each departure
	// wakes one.
	Last Contender
}

// Served reports whether the contender has its turn.
func (d Decision) Served() bool { return d.Present && d.Ahead == 0 }

// Decide tells what the contender me is to do, given the children.
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
		if d.Ahead++; d.Ahead == 1 || compare(c, d.Last) > 0 {
			d.Last = c
		}
	}
	return d
}

// blocks reports whether me has to wait for c.
func (c Contender) blocks(me Contender) bool {
	return compare(c, me) < 0 && (me.Kind == Exclusive || c.Kind == Exclusive)
}
