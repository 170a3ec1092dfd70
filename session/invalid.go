package session

import (
	"github.com/zkcoord/zkcoord/internal/invalid"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// ErrInvalid means that a path, a name, a number or an option cannot be correct, whatever the
// servers answer. Nothing was sent, and the same call fails again: change the program. The text of
// the error says what is wrong. A constructor, such as lock.NewMutex, does not report an invalid
// argument. Instead, the methods of the new value return this error.
var ErrInvalid = invalid.Err

// CheckPath returns an error that is ErrInvalid if servers do not accept path, or if path is the
// root, which nobody can create or delete. Recipes use CheckPath to check the paths that they are
// given.
func CheckPath(path string) error {
	if path == "/" {
		return invalid.New("invalid znode path %q: has to be below the root", path)
	}
	return znode.Check(path)
}
