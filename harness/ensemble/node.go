package ensemble

import "fmt"

// CheckNode returns an error unless 0 <= node < nodes, where `nodes` is the number of nodes of an
// ensemble. Implementations of the interfaces of this package use it. The argument `what` begins
// the text of the error: "kill" gives "kill node 7: the ensemble has 3 nodes".
func CheckNode(what string, node, nodes int) error {
	if node < 0 || node >= nodes {
		return fmt.Errorf("%s node %d: the ensemble has %d nodes", what, node, nodes)
	}
	return nil
}

// CheckEdges returns an error unless each edge connects two different nodes of an ensemble with the
// given number of nodes. It is for implementations of the interfaces of this package. The argument
// `what` begins the text of the error, as for CheckNode.
func CheckEdges(what string, edges []Edge, nodes int) error {
	for _, e := range edges {
		if e.From < 0 || e.From >= nodes || e.To < 0 || e.To >= nodes || e.From == e.To {
			return fmt.Errorf("%s: edge %d->%d does not exist in an ensemble of %d nodes", what, e.From, e.To, nodes)
		}
	}
	return nil
}
