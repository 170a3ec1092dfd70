// Package kinds starts an ensemble of the kind that a flag names. It is apart
// from package ensemble because it links every kind in.
package kinds

import (
	"context"
	"fmt"
	"io"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/container"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/zktest"
)

// Names are the kinds that Starter knows.
func Names() []string { return []string{"embedded", "container", "process"} }

// Starter returns what starts ensembles of that kind. Progress gets a line for
// what takes long; nil keeps quiet. Logs of the nodes are left in logDir,
// unless that is empty.
func Starter(kind, logDir string, progress io.Writer) (func(context.Context, ensemble.Config) (ensemble.Ensemble, error), error) {
	switch kind {
	case "embedded":
		return func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			return started(embedded.Start(embedded.Options{Config: config, Model: zktest.Options{Seed: config.Seed}}))
		}, nil
	case "container":
		return func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			config.LogDir = logDir
			return started(container.Start(ctx, container.Options{Config: config, Progress: progress}))
		}, nil
	case "process":
		return func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
			config.LogDir = logDir
			return started(process.Start(ctx, process.Options{Config: config}))
		}, nil
	}
	return nil, fmt.Errorf("no ensemble of kind %q; there are %v", kind, Names())
}

// started keeps a nil pointer from becoming a non-nil Ensemble.
func started[E ensemble.Ensemble](e E, err error) (ensemble.Ensemble, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}
