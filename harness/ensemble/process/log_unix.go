//go:build unix

package process

import (
	"os"
	"syscall"
)

// openFIFO creates a named pipe and opens it for reading.
func openFIFO(path string) (*os.File, error) {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	// Without O_NONBLOCK, the open would wait for a writer.
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
