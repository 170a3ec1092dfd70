package fault

import "github.com/zkcoord/zkcoord/harness/ensemble"

// The shapes of partitions: the links to cut, among nodes in an order in which the leader comes first. Each is a pure function of
// that order.

// both returns the links between two nodes, in both directions.
func both(a, b int) []ensemble.Edge {
	return []ensemble.Edge{{From: a, To: b}, {From: b, To: a}}
}

// around cuts one node off from all others.
func around(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, both(node, other)...)
		}
	}
	return edges
}

// halves cuts the smaller half, which has the leader, off from the larger.
func halves(nodes []int) (edges []ensemble.Edge) {
	half := len(nodes) / 2
	for _, a := range nodes[:half] {
		for _, b := range nodes[half:] {
			edges = append(edges, both(a, b)...)
		}
	}
	return edges
}

// bridge cuts two halves off from each other, but for the last node, which sees all. The leader is no bridge.
func bridge(nodes []int) []ensemble.Edge { return halves(nodes[:len(nodes)-1]) }

// ring leaves every node with a majority, itself among it, that is no other's: its nearest neighbours in a ring. Of three nodes
// each loses one neighbour in one direction, since less cannot be lost.
func ring(nodes []int) (edges []ensemble.Edge) {
	n := len(nodes)
	near := n / 4 // on each side; with an even rest one more on the right, as a majority needs n/2 others
	right := n/2 - near
	for i := range nodes {
		for step := 1; step < n; step++ {
			if step > right && n-step > near {
				edges = append(edges, ensemble.Edge{From: nodes[(i+step)%n], To: nodes[i]})
			}
		}
	}
	return edges
}

// mute lets one node hear the others, which do not hear it.
func mute(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, ensemble.Edge{From: node, To: other})
		}
	}
	return edges
}

// deafen lets the others hear a node that does not hear them.
func deafen(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, ensemble.Edge{From: other, To: node})
		}
	}
	return edges
}
