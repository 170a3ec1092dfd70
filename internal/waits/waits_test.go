package waits

import (
	"fmt"
	"strings"
	"testing"
)

// The function `node` returns a child that belongs to the session. The child's czxid is the number
// of the session.
func node(name string, session int64) Node { return Node{Name: name, Session: session, Czxid: session} }

// The function `changed` returns the znode after a change of its data.
func changed(n Node) Node {
	n.Version = 1
	return n
}

func text(all []Contender) string {
	var parts []string
	for _, c := range all {
		parts = append(parts, fmt.Sprintf("%d:%d", c.Node.Session, len(c.Waits)))
	}
	return strings.Join(parts, " ")
}

// Znodes with names of this module, of Curator or of kazoo are contenders, and znodes with other
// names are not. In the case "the numbers wrap", the 32-bit sequence numbers have overflowed.
func TestContenders(t *testing.T) {
	for _, c := range []struct {
		name     string
		children []Node
		want     string
	}{
		{"nobody", []Node{node("config", 1), node("x-0000000001", 2)}, ""},
		{"three libraries", []Node{
			node("_c_1f-lock-0000000002", 2), node("abc__lock__0000000001", 1), node(strings.Repeat("0", 32)+"-lock-0000000003", 3)}, "1:0 2:1 3:2"},
		{"readers and writers", []Node{
			node("a__READ__0000000000", 1), node("b__READ__0000000001", 2), node("c__WRIT__0000000002", 3), node("d__READ__0000000003", 4)},
			"1:0 2:0 3:2 4:1"},
		{"the numbers wrap", []Node{node("a-lock--2147483648", 2), node("b-lock-2147483647", 1)}, "1:0 2:1"},
		{"a writer that became a reader", []Node{
			changed(node(strings.Repeat("0", 32)+"-__WRIT__0000000000", 1)), node("b__READ__0000000001", 2), node("c__WRIT__0000000002", 3)},
			"1:0 2:0 3:2"},
		{"a lock of another library whose data was changed", []Node{changed(node("a__WRIT__0000000000", 1)), node("b__READ__0000000001", 2)}, "1:0 2:1"},
		{"an election", []Node{node("b-latch-0000000001", 2), node("a-latch-0000000000", 1)}, "1:0 2:1"},
	} {
		if got := text(Contenders("/l", c.children)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A lease of this module has its number of permits in its name. A lease of Curator is one permit,
// and has a sequence number in its name.
func TestSemaphore(t *testing.T) {
	id := strings.Repeat("0", 32)
	leases := []Node{node(id+"-lease-3", 2), node("_c_1f-lease-0000000001", 1), node("other", 9)}
	gate := []Node{node(id+"-lock-0000000007", 4), node("_c_2f-lock-0000000005", 3)}
	all := SemaphoreContenders("/s", leases, gate)
	if got, want := text(all), "1:0 2:0 3:2 4:1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i, want := range []Contender{{Permits: 1}, {Permits: 3}, {AnyOf: true}, {}} {
		if c := all[i]; c.Permits != want.Permits || c.AnyOf != want.AnyOf || c.Holds() != (i < 2) {
			t.Errorf("contender %d: got %+v, want %+v", i, c, want)
		}
	}
	if all := SemaphoreContenders("/s", nil, gate); all[0].Holds() {
		t.Error("a contender at the gate holds although there is no lease, want it to hold nothing")
	}
}

// The function `locks` parses lines such as "/a: 1 2": session 1 holds the lock /a, and session 2
// waits for it.
func locks(lines ...string) (all []Contender) {
	for _, line := range lines {
		dir, sessions, _ := strings.Cut(line, ": ")
		var children []Node
		for i, s := range strings.Fields(sessions) {
			var session int64
			fmt.Sscan(s, &session)
			children = append(children, node(fmt.Sprintf("%s-lock-%010d", s, i), session))
		}
		all = append(all, Contenders(dir, children)...)
	}
	return all
}

func TestDeadlocks(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", []string{"/a: 1 2", "/b: 2 3", "/c: 3"}, ""},
		{"three over three", []string{"/a: 1 2", "/b: 2 3", "/c: 3 1"}, "2>1 1>3 3>2"},
		{"two over two, and one that waits for them", []string{"/a: 1 2 3", "/b: 2 1"}, "2>1 1>2"},
		{"one session", []string{"/a: 1 1"}, "1>1"},
		{"two cycles", []string{"/a: 1 2", "/b: 2 1", "/c: 3 4", "/d: 4 3"}, "2>1 1>2; 4>3 3>4"},
		{"a lock that no session holds", []string{"/a: 0 2", "/b: 2 0"}, ""},
	} {
		var circles []string
		for _, circle := range Deadlocks(locks(c.lines...)) {
			var parts []string
			for _, w := range circle {
				parts = append(parts, fmt.Sprintf("%d>%d", w.Contender.Node.Session, w.For.Node.Session))
			}
			circles = append(circles, strings.Join(parts, " "))
		}
		if got := strings.Join(circles, "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
