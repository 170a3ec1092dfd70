package session

import "strings"

// A chroot is put before the paths that callers use, "" for none.
type chroot string

// inner is the path that the server knows, outer the one that callers use.
func (c chroot) inner(path string) string {
	if path == "/" && c != "" {
		return string(c)
	}
	return string(c) + path
}

// innerNew is inner for a node to be made. A number that is appended to the root
// names a child of the chroot, not a sibling.
func (c chroot) innerNew(path string, sequential bool) string {
	if sequential {
		return string(c) + path
	}
	return c.inner(path)
}

func (c chroot) outer(path string) string {
	switch path {
	case "": // of a request that failed, or a part of a multi that has none
		return ""
	case string(c):
		return "/"
	}
	return strings.TrimPrefix(path, string(c))
}
