//go:build !unix

package process

import (
	"os"

	"github.com/zkcoord/zkcoord/internal/procs"
)

// openFIFO fails, because the file system has no named pipes.
func openFIFO(string) (*os.File, error) { return nil, procs.ErrNeedsLinux }
