package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The type `keeper` keeps one ensemble from run to run. There are two reasons. An ensemble of real
// servers takes seconds to start. And an ensemble that has served many runs has long logs,
// snapshots and many epochs, as in production.
type keeper struct {
	kept    ensemble.Ensemble // nil if there is none
	version string
	config  ensemble.Config // of kept, without its seed
}

// readyPatience is the longest time for which a kept ensemble may be without a quorum before a run.
const readyPatience = 30 * time.Second

// The method `starter` returns a starter for one run on the given version of ZooKeeper. The run
// must not close the ensemble. The starter returns the kept ensemble if that ensemble is of the
// version and configuration that the run needs, and has a quorum. Otherwise it closes the kept
// ensemble, starts another one with `start`, and keeps it.
func (k *keeper) starter(version string, start ensemble.Starter) ensemble.Starter {
	return func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		wanted := config
		wanted.Seed = 0 // real servers ignore it
		if k.kept != nil && k.version == version && reflect.DeepEqual(k.config, wanted) && k.ready(ctx) {
			return k.kept, nil
		}
		if err := k.close(ctx); err != nil {
			return nil, err
		}
		e, err := start(ctx, config)
		if err != nil {
			return nil, err
		}
		k.kept, k.version, k.config = e, version, wanted
		return e, nil
	}
}

// The method `ready` reports whether the kept ensemble is healthy, or becomes healthy in time.
func (k *keeper) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	return k.kept.Ready(ctx) == nil
}

// The method `close` closes the kept ensemble, if there is one, even after ctx has ended.
func (k *keeper) close(ctx context.Context) error {
	if k.kept == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := k.kept.Close(ctx); err != nil {
		return fmt.Errorf("close the ensemble of earlier rounds: %w", err)
	}
	k.kept = nil
	return nil
}
