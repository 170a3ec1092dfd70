//go:build nocontainer

package kinds

import (
	"context"
	"errors"
	"io"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

var errLeftOut = errors.New("this program has no support for containers: build it without the tag nocontainer")

func containers(ensemble.Config, io.Writer) (ensemble.Starter, error) { return nil, errLeftOut }

// Attach returns an error, because this program is built without support for containers.
func Attach(context.Context, string) (ensemble.Ensemble, error) { return nil, errLeftOut }
