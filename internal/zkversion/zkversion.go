// Package zkversion names the versions of ZooKeeper that zkcoord is tested on.
package zkversion

import (
	"fmt"
	"slices"
	"strings"
)

// The versions. Each string is a value of the flag --zookeeper, and a part of the names of images
// and of folders with unpacked packages.
const (
	V38  = "3.8"
	V393 = "3.9.3"
	V396 = "3.9.6"

	// Oldest is the oldest supported version. Default is the version that runs unless another one
	// is named.
	Oldest  = V38
	Default = V396
)

// Known returns all versions, the oldest first.
func Known() []string { return []string{V38, V393, V396} }

// Mixed separates the versions in a list such as "3.8+3.9.6".
const Mixed = "+"

// Split returns the versions in a list such as "3.8+3.9.6". For an empty list, it returns one empty
// version, which means the default version. Node 0 of an ensemble gets the first version of the
// list, node 1 the second, and so on. After the last version, the list repeats.
func Split(list string) ([]string, error) {
	versions := strings.Split(list, Mixed)
	if len(versions) > 1 && slices.Contains(versions, "") {
		return nil, fmt.Errorf("versions of ZooKeeper %q: one between two %q is empty", list, Mixed)
	}
	if strings.ContainsFunc(list, func(r rune) bool { return !plain(r) }) {
		return nil, fmt.Errorf("%q is no version of ZooKeeper: there are %s", list, strings.Join(Known(), ", "))
	}
	return versions, nil
}

func plain(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._-"+Mixed, r)
}

// Named returns the value of the flag --zookeeper that starts servers of the reported versions. For
// example, it returns "3.8+3.9.6" for "3.8.0+3.9.6". A version that is not known stays as it is.
func Named(reported string) string {
	versions := strings.Split(reported, Mixed)
	for i, have := range versions {
		for _, known := range Known() {
			if Is(have, known) {
				versions[i] = known
			}
		}
	}
	return strings.Join(versions, Mixed)
}

// Is reports whether a server has the wanted version. `have` is the version that the server
// reports, such as "3.9.6-1a2b3c". `want` is a version such as "3.9" or "3.9.6".
func Is(have, want string) bool {
	rest, begins := strings.CutPrefix(have, want)
	return want != "" && begins && (rest == "" || rest[0] == '.' || rest[0] == '-')
}
