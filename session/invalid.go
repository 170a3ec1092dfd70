package session

import (
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// ErrInvalid means that a path, a name, a number or an option cannot be right,
// whatever the servers would say. Nothing was sent, and the same call fails again:
// the program has to be changed. The text says what is wrong. Constructors make no
// error of it; the first call does, and each call after that.
var ErrInvalid = invalid.Err

// CheckPath returns an error, which is ErrInvalid, unless something can be kept at
// path: servers accept it, and it is not the root, which they neither make nor
// delete. Recipes check by it the path that they are given.
func CheckPath(path string) error {
	if path == "/" {
		return invalid.New("invalid znode path %q: has to be below the root", path)
	}
	return znode.Check(path)
}
