package session

import "strings"

// A chroot is the prefix of the paths that callers use. It is "" if there is none.
type chroot string

// inner returns the path that the server knows for a path of a caller. outer is its inverse.
func (c chroot) inner(path string) string {
	if path == "/" && c != "" {
		return string(c)
	}
	return string(c) + path
}

// innerNew is inner for a node that is created. If a sequence number is appended to the root, the
// new node is a child of the chroot, not its sibling.
func (c chroot) innerNew(path string, sequential bool) string {
	if sequential {
		return string(c) + path
	}
	return c.inner(path)
}

func (c chroot) outer(path string) string {
	switch path {
	case "": // of a failed request, or of a part of a multi that has no path
		return ""
	case string(c):
		return "/"
	}
	return strings.TrimPrefix(path, string(c))
}
