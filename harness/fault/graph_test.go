package fault

import (
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The function `hears` returns for each node the nodes that it receives from, including itself.
func hears(n int, cut []ensemble.Edge) [][]int {
	all := make([][]int, n)
	for to := range n {
		for from := range n {
			if !slices.Contains(cut, ensemble.Edge{From: from, To: to}) {
				all[to] = append(all[to], from)
			}
		}
	}
	return all
}

// The function `numbered` returns n nodes, starting with the leader.
func numbered(n, leads int) (nodes []int) {
	for i := range n {
		nodes = append(nodes, (leads+i)%n)
	}
	return nodes
}

func TestRingGivesEachNodeAMajorityOfItsOwn(t *testing.T) {
	for n := 3; n <= 9; n++ {
		seen := map[string]bool{}
		for node, heard := range hears(n, ring(numbered(n, n-1))) {
			if len(heard) != n/2+1 || !slices.Contains(heard, node) {
				t.Errorf("of %d nodes, node %d receives from %v, want %d nodes including itself",
					n, node, heard, n/2+1)
			}
			key := label(heard)
			if seen[key] {
				t.Errorf("of %d nodes, two receive from %v, want different majorities", n, heard)
			}
			seen[key] = true
		}
	}
}

func TestBridgeIsTheOnlyWayBetweenTheHalves(t *testing.T) {
	for n := 3; n <= 9; n++ {
		nodes := numbered(n, 1)
		cut := bridge(nodes)
		last, half := nodes[n-1], nodes[:(n-1)/2]
		for node, heard := range hears(n, cut) {
			switch {
			case node == last && len(heard) != n:
				t.Errorf("of %d nodes, the bridge %d receives only from %v, want all", n, node, heard)
			case node != last:
				for _, other := range heard {
					if other != last && slices.Contains(half, node) != slices.Contains(half, other) {
						t.Errorf("of %d nodes, node %d of one half receives from %d of the "+
							"other, want only from its half and the bridge %d",
							n, node, other, last)
					}
				}
			}
		}
	}
}

func TestHalvesLeaveTheLeaderInTheSmaller(t *testing.T) {
	for n := 3; n <= 9; n++ {
		nodes := numbered(n, 2%n)
		all := hears(n, halves(nodes))
		if got := len(all[nodes[0]]); got != n/2 {
			t.Errorf("of %d nodes, the leader receives from %d, want %d, the smaller half",
				n, got, n/2)
		}
		if got := len(all[nodes[n-1]]); got != n-n/2 {
			t.Errorf("of %d nodes, the last receives from %d, want %d, the larger half",
				n, got, n-n/2)
		}
	}
}

func TestOneWayIsOneWay(t *testing.T) {
	nodes := numbered(5, 0)
	for node, heard := range hears(5, mute(2, nodes)) {
		if node == 2 && len(heard) != 5 || node != 2 && (len(heard) != 4 || slices.Contains(heard, 2)) {
			t.Errorf("node 2 is mute: node %d receives from %v, want all 5 at node 2, and the 4 "+
				"others at another node", node, heard)
		}
	}
	for node, heard := range hears(5, deafen(2, nodes)) {
		if node == 2 && len(heard) != 1 || node != 2 && len(heard) != 5 {
			t.Errorf("node 2 is deaf: node %d receives from %v, want 1 node at node 2, and 5 at "+
				"another node", node, heard)
		}
	}
	for node, heard := range hears(5, around(2, nodes)) {
		if node == 2 && len(heard) != 1 || node != 2 && len(heard) != 4 {
			t.Errorf("node 2 is cut off: node %d receives from %v, want 1 node at node 2, and 4 "+
				"at another node", node, heard)
		}
	}
}

func TestRolesMeanNodes(t *testing.T) {
	for _, c := range []struct {
		role    string
		k, l, n int
		want    []int
	}{
		{leader, 0, 2, 3, []int{2}},
		{follower, 0, 2, 3, []int{0}},
		{follower, 1, 2, 3, []int{1}},
		{follower, 2, 2, 3, []int{0}},
		{majority, 0, 2, 3, []int{2, 0}},
		{majority, 0, 4, 5, []int{4, 0, 1}},
		{all, 0, 1, 3, []int{1, 2, 0}},
	} {
		if got, err := nodesOf(c.role, c.k, c.l, c.n); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s+%d of %d with leader %d: got %v, %v; want %v",
				c.role, c.k, c.n, c.l, got, err, c.want)
		}
	}
	if _, err := nodesOf("boss", 0, 0, 3); err == nil {
		t.Error("nodesOf(boss): got no error, want one")
	}
}
