package tree

import (
	"strings"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// parentOf returns the parent's path of a node that may be deleted.
func parentOf(path string) (string, wire.Code) {
	if strings.IndexByte(path, '/') < 0 || strings.IndexByte(path, 0) >= 0 || special(path) {
		return "", wire.BadArguments
	}
	parent, _ := split(path)
	return parent, wire.OK
}

// validPath holds a path against the rules for one.
func validPath(path string) bool {
	if path == "/" {
		return true
	}
	if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || !utf8.ValidString(path) {
		return false
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return !hasLetterOutside(path)
}

// hasLetterOutside reports whether path holds a character that no path may.
func hasLetterOutside(path string) bool {
	return strings.ContainsFunc(path, func(r rune) bool {
		return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
	})
}
