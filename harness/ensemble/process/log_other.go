//go:build !unix

package process

import (
	"os"

	"github.com/zkcoord/zkcoord/internal/procs"
)

// openFIFO fails: there are no named pipes in the file system.
func openFIFO(string) (*os.File, error) { return nil, procs.ErrNeedsLinux }
