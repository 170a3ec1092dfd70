//go:build !unix || solaris || aix || illumos

package fence_test

import (
	"os"
	"testing"
)

func holdLock(t *testing.T, _ string) *os.File {
	t.Skip("this system has no flock")
	return nil
}

func ignoreFileSizeSignal() {}
