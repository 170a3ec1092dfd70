package fault

import "github.com/zkcoord/zkcoord/harness/ensemble"

// Each shape of a partition is a function that returns the edges to cut. In the argument `nodes`,
// the leader comes first.

// The function `both` returns the two directions of the edge between two nodes.
func both(a, b int) []ensemble.Edge {
	return []ensemble.Edge{{From: a, To: b}, {From: b, To: a}}
}

// The function `around` cuts off one node from all others.
func around(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, both(node, other)...)
		}
	}
	return edges
}

// The function `halves` cuts off the smaller half, which includes the leader, from the larger.
func halves(nodes []int) (edges []ensemble.Edge) {
	half := len(nodes) / 2
	for _, a := range nodes[:half] {
		for _, b := range nodes[half:] {
			edges = append(edges, both(a, b)...)
		}
	}
	return edges
}

// The function `bridge` cuts the edges between two halves of the nodes. The last node belongs to
// neither half and stays connected to all nodes. The leader is never the bridge.
func bridge(nodes []int) []ensemble.Edge { return halves(nodes[:len(nodes)-1]) }

// The function `ring` arranges the nodes in a ring, and lets each node receive only from its
// nearest neighbors: just enough of them to form a majority together with the node. No two nodes
// have the same majority. With three nodes, each node receives only from its neighbor on one side,
// and sends only to its neighbor on the other side.
func ring(nodes []int) (edges []ensemble.Edge) {
	n := len(nodes)
	near := n / 4 // neighbors on the left; with those on the right, a node has the n/2 neighbors that a majority needs
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

// The function `mute` cuts the edges from one node to the others. The node still receives from
// them.
func mute(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, ensemble.Edge{From: node, To: other})
		}
	}
	return edges
}

// deafen cuts the edges from the other nodes to one node. The other nodes still receive from it.
func deafen(node int, nodes []int) (edges []ensemble.Edge) {
	for _, other := range nodes {
		if other != node {
			edges = append(edges, ensemble.Edge{From: other, To: node})
		}
	}
	return edges
}
