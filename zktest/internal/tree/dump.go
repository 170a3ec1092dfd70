package tree

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// Dump writes everything in the tree except watches, in a fixed order. Two
// replicas are equal if and only if their dumps are equal.
func (t *Tree) Dump(w io.Writer) {
	for _, path := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[path]
		names := slices.Sorted(slices.Values(n.children.items))
		fmt.Fprintf(w, "%q %+v %q %v %q\n", path, n.stat, n.data, n.acl, names)
	}
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		fmt.Fprintf(w, "session %x %d\n", id, t.sessions[id])
	}
	for _, id := range slices.Sorted(maps.Keys(t.ephemerals)) {
		if own := t.ephemerals[id]; own.len() > 0 {
			fmt.Fprintf(w, "ephemerals %x %q\n", id, slices.Sorted(slices.Values(own.items)))
		}
	}
	fmt.Fprintf(w, "reaped %q bytes %d\n", slices.Sorted(slices.Values(t.reaped.items)), t.bytes)
}
