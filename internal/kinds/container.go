//go:build !nocontainer

package kinds

import (
	"context"
	"io"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
)

func containers(config ensemble.Config, progress io.Writer) (ensemble.Starter, error) {
	return container.Starter(container.Options{Config: config, Progress: progress}), nil
}

// Attach returns the ensemble of a running docker-compose project. The parameter `file` is the
// project's docker-compose file.
func Attach(ctx context.Context, file string) (ensemble.Ensemble, error) {
	e, err := container.Attach(ctx, file)
	if err != nil {
		return nil, err // without a nil pointer in the interface
	}
	return e, nil
}
