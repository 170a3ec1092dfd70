package owner

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

const prefix = "zkcoord-"

// MkdirTemp creates a new directory in parent, or in the system's directory for temporary files if
// parent is empty. The name contains the mark of this process and `kind`, a word for the purpose of
// the directory. MkdirTemp first removes the directories of any kind that ended processes have left
// behind. The caller removes the new directory.
func MkdirTemp(parent, kind string) (string, error) {
	parent = cmp.Or(parent, os.TempDir())
	Sweep(parent)
	return os.MkdirTemp(parent, prefix+Self()+"-"+kind+"-")
}

// Sweep removes the directories that MkdirTemp created in parent for processes that have ended. It
// ignores errors.
func Sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		mark, ours := strings.CutPrefix(entry.Name(), prefix)
		if !ours {
			continue
		}
		// The kind and a number follow the mark. The mark itself may contain dashes.
		name := strings.Split(mark, "-")
		if Gone(strings.Join(name[:max(0, len(name)-2)], "-")) {
			os.RemoveAll(filepath.Join(parent, entry.Name()))
		}
	}
}
