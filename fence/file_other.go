//go:build !unix || solaris || aix || illumos

package fence

import (
	"context"
	"errors"
	"os"
)

func lockFile(context.Context, *os.File) error { return errors.ErrUnsupported }
