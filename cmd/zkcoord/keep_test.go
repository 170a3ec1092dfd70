package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// A fakeEnsemble records in the log of a test that it was closed. The test records the start.
type fakeEnsemble struct {
	ensemble.Ensemble
	name  string
	log   *[]string
	ready error
}

func (e *fakeEnsemble) Ready(context.Context) error { return e.ready }

func (e *fakeEnsemble) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	*e.log = append(*e.log, "close "+e.name)
	return nil
}

func TestKeeperReplacesItsEnsembleOnlyIfARunNeedsAnother(t *testing.T) {
	var log []string
	var now *fakeEnsemble
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	start := func(context.Context, ensemble.Config) (ensemble.Ensemble, error) {
		now = &fakeEnsemble{name: names[0], log: &log}
		names = names[1:]
		log = append(log, "start "+now.name)
		return now, nil
	}
	k := &keeper{app: quietApp()}
	get := func(version string, config ensemble.Config) {
		t.Helper()
		e, err := k.starter(version, start)(t.Context(), config)
		if err != nil || e != now {
			t.Fatalf("got ensemble %v, error %v; want the newest ensemble %v", e, err, now)
		}
	}
	get("3.9.6", ensemble.Config{Nodes: 3, Seed: 1})
	get("3.9.6", ensemble.Config{Nodes: 3, Seed: 2})
	log = append(log, "other nodes")
	get("3.9.6", ensemble.Config{Nodes: 5, Seed: 3})
	log = append(log, "other version")
	get("3.8.0", ensemble.Config{Nodes: 5, Seed: 4})
	log = append(log, "not ready")
	now.ready = errors.New("a node has died")
	get("3.8.0", ensemble.Config{Nodes: 5, Seed: 5})
	log = append(log, "most runs")
	for range mostRuns {
		get("3.8.0", ensemble.Config{Nodes: 5})
	}
	for range 2 {
		log = append(log, "upgrade")
		get("3.8.0", ensemble.Config{Nodes: 5, Later: []string{"3.9.6"}})
	}
	log = append(log, "end")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if err := k.close(ended); err != nil {
			t.Errorf("close after the end of the context: got error %v, want none", err)
		}
	}
	want := []string{"start a", "other nodes", "close a", "start b", "other version", "close b", "start c", "not ready", "close c", "start d",
		"most runs", "close d", "start e", "upgrade", "close e", "start f", "upgrade", "close f", "start g", "end", "close g"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q,\nwant %q", log, want)
	}
}
