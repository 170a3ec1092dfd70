package owner

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

const prefix = "zkcoord-"

// MkdirTemp creates a new directory in parent, or in the system's directory for temporary files if
// parent is empty. The name contains the mark of this process and the argument kind, a word that
// states the purpose of the directory. MkdirTemp first removes the directories of any kind that
// ended processes have left. The caller removes the new directory.
func MkdirTemp(parent, kind string) (string, error) {
	parent = cmp.Or(parent, os.TempDir())
	Sweep(parent)
	return os.MkdirTemp(parent, prefix+Self()+"-"+kind+"-")
}

// Sweep removes the directories that MkdirTemp created in parent for processes
// that have ended. It ignores errors.
func Sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range dirs {
		name := strings.Split(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		// The kind and a number follow the mark, which itself may contain
		// dashes.
		if Gone(strings.Join(name[:max(0, len(name)-2)], "-")) {
			os.RemoveAll(dir)
		}
	}
}
