package fault

import "github.com/zkcoord/zkcoord/harness/ensemble"

// The shapes of partitions: the links to cut, among nodes in an order in which the leader comes first. Each is a pure function of
// that order.

// both returns the links between two nodes, in both directions.
func both(a, b int) []ensemble.Link {
	return []ensemble.Link{{From: a, To: b}, {From: b, To: a}}
}

// around cuts one node off from all others.
func around(node int, nodes []int) (links []ensemble.Link) {
	for _, other := range nodes {
		if other != node {
			links = append(links, both(node, other)...)
		}
	}
	return links
}

// halves cuts the smaller half, which has the leader, off from the larger.
func halves(nodes []int) (links []ensemble.Link) {
	half := len(nodes) / 2
	for _, a := range nodes[:half] {
		for _, b := range nodes[half:] {
			links = append(links, both(a, b)...)
		}
	}
	return links
}

// bridge cuts two halves off from each other, but for the last node, which sees all. The leader is no bridge.
func bridge(nodes []int) []ensemble.Link { return halves(nodes[:len(nodes)-1]) }

// ring leaves every node with a majority, itself among it, that is no other's: its nearest neighbours in a ring. Of three nodes
// each loses one neighbour in one direction, since less cannot be lost.
func ring(nodes []int) (links []ensemble.Link) {
	n := len(nodes)
	near := n / 4 // on each side; with an even rest one more on the right, as a majority needs n/2 others
	right := n/2 - near
	for i := range nodes {
		for step := 1; step < n; step++ {
			if step > right && n-step > near {
				links = append(links, ensemble.Link{From: nodes[(i+step)%n], To: nodes[i]})
			}
		}
	}
	return links
}

// mute lets one node hear the others, which do not hear it.
func mute(node int, nodes []int) (links []ensemble.Link) {
	for _, other := range nodes {
		if other != node {
			links = append(links, ensemble.Link{From: node, To: other})
		}
	}
	return links
}

// deafen lets the others hear a node that does not hear them.
func deafen(node int, nodes []int) (links []ensemble.Link) {
	for _, other := range nodes {
		if other != node {
			links = append(links, ensemble.Link{From: other, To: node})
		}
	}
	return links
}
