package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The type `keeper` keeps one ensemble for several runs, one after another. This saves the seconds
// that an ensemble of real servers takes to start. After some runs its servers also have longer
// logs, snapshots and more epochs, as in production.
type keeper struct {
	*app
	kept    ensemble.Ensemble // nil if there is none
	version string
	config  ensemble.Config // of kept, without its seed
	runs    int             // that kept has served or serves
	spoiled bool            // kept must be closed, and must serve no further run
}

const (
	// mostRuns is the maximum number of runs of one ensemble. Each run reads the whole logs of the
	// servers, which grow from run to run.
	mostRuns = 25

	// readyPatience is the longest time for which a kept ensemble may be without a quorum before a
	// run.
	readyPatience = 30 * time.Second
)

// The method `starter` returns a starter for one run on the given version of ZooKeeper. The run
// must not close the ensemble. The starter returns the kept ensemble if it can serve this run: see
// the method `suits`. Otherwise it closes the kept ensemble, starts another one with `start`, and
// keeps it.
func (k *keeper) starter(version string, start ensemble.Starter) ensemble.Starter {
	return func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		wanted := config
		wanted.Seed = 0 // real servers ignore it
		if k.suits(ctx, version, wanted) {
			k.runs++
			return k.kept, nil
		}
		if err := k.close(ctx); err != nil {
			return nil, err
		}
		e, err := start(ctx, config)
		if err != nil {
			return nil, err
		}
		*k = keeper{app: k.app, kept: e, version: version, config: wanted, runs: 1}
		return e, nil
	}
}

// The method `suits` reports whether the kept ensemble can serve a run. It must have the version
// and the configuration that the run needs, and a quorum. If the configuration names later versions
// or a small disk, it never suits: an upgraded node stays upgraded, and the logs of earlier runs
// would fill the disk.
func (k *keeper) suits(ctx context.Context, version string, wanted ensemble.Config) bool {
	if k.kept == nil || k.spoiled || k.runs >= mostRuns || len(wanted.Later) > 0 || wanted.Disk > 0 ||
		k.version != version || !reflect.DeepEqual(k.config, wanted) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	err := k.kept.Ready(ctx)
	if err != nil {
		k.note("the ensemble of the rounds before is replaced: %s", paragraph(err))
	}
	return err == nil
}

// The method `close` closes the kept ensemble, if there is one, even after ctx has ended.
func (k *keeper) close(ctx context.Context) error {
	if k.kept == nil {
		return nil
	}
	k.spoiled = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := k.kept.Close(ctx); err != nil {
		return fmt.Errorf("close the ensemble of earlier rounds: %w", err)
	}
	k.kept = nil
	return nil
}
