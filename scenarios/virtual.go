package scenarios

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/zktest"
)

// On the embedded ensemble in virtual time minutes of faults take a fraction of
// a second, so that a scenario is run with many seeds, and each mutant with few.

const (
	// VirtualTime is for how long clients work under faults in such a run.
	VirtualTime = 90 * time.Second
	// HuntSeeds is how many runs a mutant has to be found out in.
	HuntSeeds = 30
)

// Virtual are the scenarios that run in virtual time.
func Virtual() []harness.Scenario {
	return slices.DeleteFunc(All(), func(s harness.Scenario) bool { return s.Needs != "" })
}

// VirtualOptions are those of a run of s on the embedded ensemble in virtual
// time. They decide what a seed means there: tests and the command take the time
// and the faults that a plan is drawn from from here, so a seed has one plan.
func VirtualOptions(s harness.Scenario, seed uint64) harness.Options {
	return harness.Options{
		Seed: seed, Time: VirtualTime, Faults: some(s.Faults, seed),
		Ensemble: embedded.Starter(embedded.Options{Model: zktest.Options{Version: versionOf(seed)}}), // with the seed of the run
	}
}

// versionOf is the line of releases that the servers of a seed are of: each line has
// every other seed.
func versionOf(seed uint64) zktest.Version {
	if seed%2 == 0 {
		return zktest.V38
	}
	return zktest.V39
}

// some are a few of the faults, others for each seed, so that each of them is
// tried several times in one run.
func some(faults []harness.Fault, seed uint64) []string {
	const few = 3
	if len(faults) <= few {
		return nil
	}
	var names []string
	for i := range uint64(few) {
		names = append(names, faults[(seed*few+i)%uint64(len(faults))].Name())
	}
	return names
}
