package main

import (
	"testing"

	"github.com/zkcoord/zkcoord/harness"
)

// A replay runs on the versions of ZooKeeper on which the violation was found, because the
// violation may need them.
func TestReplayIsOnTheVersionsOfTheRun(t *testing.T) {
	for have, want := range map[string]string{
		"": "", "3.9.6": "3.9.6", "3.8.0": "3.8", "3.8.0+3.9.6": "3.8+3.9.6", "3.7.2": "3.7.2",
	} {
		f := likeIn(&harness.Result{Ensemble: "container", ZooKeeper: have})
		if f.ensemble != "container" || f.zookeeper != want {
			t.Errorf("after a run on ZooKeeper %q: got --ensemble %s --zookeeper %q, want container and %q", have, f.ensemble, f.zookeeper, want)
		}
	}
}
