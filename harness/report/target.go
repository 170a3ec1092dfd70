package report

import (
	"maps"
	"slices"
	"strings"
)

// targetWords describes the target of a fault. The target may be a list of cut edges, such as
// n0|n1,n0|n2, or n0>n1 if only one direction is cut. If the cut edges separate two groups
// completely, targetWords names the groups.
func targetWords(target string) string {
	sep, between, links := "|", " cut off from ", "links "
	if strings.Contains(target, ">") {
		sep, between, links = ">", " not reaching ", "ways "
	}
	pairs := strings.Split(target, ",")
	peers := make(map[string][]string) // by node: the peers that its cut edges lead to
	for _, p := range pairs {
		a, b, is := strings.Cut(p, sep)
		if !is {
			return strings.Join(pairs, ", ")
		}
		peers[a] = append(peers[a], b)
		if sep == "|" {
			peers[b] = append(peers[b], a)
		}
	}
	first, _, _ := strings.Cut(pairs[0], sep)
	var one []string
	for _, n := range slices.Sorted(maps.Keys(peers)) {
		if slices.Equal(peers[n], peers[first]) {
			one = append(one, n)
		}
	}
	other := peers[first]
	if len(one)*len(other) != len(pairs) {
		return links + strings.Join(pairs, ", ")
	}
	if sep == "|" && len(other) < len(one) {
		one, other = other, one
	}
	return listed(one) + between + listed(other)
}

// The function `listed` joins names, for example as "a, b and c".
func listed(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
