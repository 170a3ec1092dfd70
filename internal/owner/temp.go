package owner

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

const prefix = "zkcoord-"

// MkdirTemp makes a new directory in parent, or in the system's one for temporary files if that is empty, whose name has the mark
// of this process and a word that says what it is for. It first removes those of any kind that processes have left which ended
// without doing so. The caller removes the directory.
func MkdirTemp(parent, kind string) (string, error) {
	parent = cmp.Or(parent, os.TempDir())
	Sweep(parent)
	return os.MkdirTemp(parent, prefix+Self()+"-"+kind+"-")
}

// Sweep removes the directories that MkdirTemp has made in parent for processes which have ended. What cannot be removed stays.
func Sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range dirs {
		name := strings.Split(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		// Behind the mark, in which there are such signs too, come the kind and a number.
		if Gone(strings.Join(name[:max(0, len(name)-2)], "-")) {
			os.RemoveAll(dir)
		}
	}
}
