package tree

import (
	"strings"
	"unicode/utf8"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// parentOf returns the path of the parent of a znode. If `path` is malformed, or if its znode can
// never be deleted, parentOf returns an error code instead.
func parentOf(path string) (string, wire.Code) {
	if path == wire.Null {
		return "", wire.MarshallingError
	}
	if strings.IndexByte(path, '/') < 0 || strings.IndexByte(path, 0) >= 0 || special(path) {
		return "", wire.BadArguments
	}
	parent, _ := split(path)
	return parent, wire.OK
}

// validPath reports whether path is a valid path.
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

// hasLetterOutside reports whether path contains a character that is not
// allowed in paths.
func hasLetterOutside(path string) bool {
	return strings.ContainsFunc(path, func(r rune) bool {
		return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
	})
}
