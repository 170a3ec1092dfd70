package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/scenarios"
)

func TestColumnsOfTheMatrix(t *testing.T) {
	for _, c := range []struct {
		kinds, versions string
		want            []string
	}{
		{"embedded", "", []string{"EMBEDDED"}},
		{"container", "3.8,3.9.3,3.9.6", []string{"CONTAINER 3.8", "CONTAINER 3.9.3", "CONTAINER 3.9.6"}},
		{"embedded,process", "3.8,3.8+3.9.6", []string{"EMBEDDED 3.8", "EMBEDDED 3.8+3.9.6", "PROCESS 3.8", "PROCESS 3.8+3.9.6"}},
		{"embedded,embedded", "", []string{"EMBEDDED"}},
	} {
		var got []string
		for _, one := range columns(c.kinds, c.versions) {
			got = append(got, one.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("kinds %s and versions %s: got %q, want %q", c.kinds, c.versions, got, c.want)
		}
	}
}

// Regression: scenarios that need a minute were not exercised in a matrix with 10 s for each run.
func TestTimeOfARun(t *testing.T) {
	long := harness.Scenario{Name: "long", Time: time.Minute}
	for _, c := range []struct {
		flags runFlags
		want  time.Duration
	}{
		{runFlags{time: 20 * time.Second}, time.Minute},
		{runFlags{time: 10 * time.Second, timeGiven: true}, 10 * time.Second},
		{runFlags{time: 10 * time.Second, timeGiven: true, matrix: true}, time.Minute},
		{runFlags{time: 2 * time.Minute, timeGiven: true, matrix: true}, 2 * time.Minute},
		{runFlags{time: 10 * time.Second, timeGiven: true, matrix: true, virtual: true}, 10 * time.Second},
	} {
		if got := c.flags.timeOf(long); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.flags, got, c.want)
		}
	}
}

// Regression: a scenario whose clients are separate processes was reported as impossible on every
// ensemble.
func TestMatrixOfAScenarioWithClientProcesses(t *testing.T) {
	e, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(t.Context())
	s := scenarios.LockPause()
	if err := unableToAll(s, e, harness.Options{}); err != nil {
		t.Errorf("lock-pause: got %v, want that a pause of its clients is possible", err)
	}
	s.ClientProcesses = false
	if err := unableToAll(s, e, harness.Options{}); err == nil {
		t.Error("clients without processes: got no error, want that a pause is impossible")
	}
}

// A seed must select the same version in the command as in tests, because a failed test prints the
// command that repeats its run.
func TestVirtualRunIsOfTheVersionOfItsSeed(t *testing.T) {
	for _, c := range []struct {
		seed      uint64
		zookeeper string
		want      string
	}{{2, "", "3.8."}, {3, "", "3.9."}, {2, "3.9.3", "3.9.3"}} {
		f := runFlags{ensemble: "embedded", virtual: true, time: time.Minute, intensity: 1, seed: c.seed, zookeeper: c.zookeeper}
		o, err := f.options(&app{}, scenarios.LockFaults())
		if err != nil {
			t.Fatalf("seed %d, --zookeeper %q: got error %v from the flags, want none",
				c.seed, c.zookeeper, err)
		}
		e, err := o.Ensemble(t.Context(), ensemble.Config{Nodes: 1})
		if err != nil {
			t.Fatalf("seed %d, --zookeeper %q: got error %v from the start of the servers, want "+
				"none", c.seed, c.zookeeper, err)
		}
		status, err := ensemble.Ask(t.Context(), e.DialContext, e.Servers()[0])
		if err != nil || !strings.HasPrefix(status.Version, c.want) {
			t.Errorf("seed %d, --zookeeper %q: got servers of %q, want %s (%v)", c.seed, c.zookeeper, status.Version, c.want, err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Errorf("seed %d, --zookeeper %q: got error %v from Close, want none",
				c.seed, c.zookeeper, err)
		}
	}
}
