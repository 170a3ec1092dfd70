package scenarios

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/zktest"
)

// On the embedded ensemble in virtual time, minutes of faults take a fraction of a second. So each
// scenario and each mutant can run with many seeds.

const (
	// VirtualTime is how long clients work under faults in a run in virtual time.
	VirtualTime = 90 * time.Second
	// HuntSeeds is the maximum number of runs of a mutant. One of these runs must kill the mutant.
	// Each mutant is killed by about a quarter of the runs, or by more.
	HuntSeeds = 100
)

// Virtual returns the scenarios that run in virtual time.
func Virtual() []harness.Scenario {
	return slices.DeleteFunc(All(), func(s harness.Scenario) bool { return s.Needs != "" })
}

// VirtualOptions returns the options of a run of s on the embedded ensemble in virtual time. The
// seed determines the faults and the modeled version. Tests and the command both use these options,
// so the same seed gives the same plan in both.
func VirtualOptions(s harness.Scenario, seed uint64) harness.Options {
	return harness.Options{
		Seed: seed, Time: VirtualTime, Faults: some(s.Faults, seed),
		// The model gets the seed from the run.
		Ensemble: embedded.Starter(embedded.Options{Model: zktest.Options{Version: versionOf(seed)}}),
	}
}

// versionOf returns the release line of the servers for a seed. The two lines alternate.
func versionOf(seed uint64) zktest.Version {
	if seed%2 == 0 {
		return zktest.V38
	}
	return zktest.V39
}

// The function `some` chooses only a few faults, so that each chosen fault occurs several times in
// a run. The choice depends on the seed. If there are only a few faults, the result is nil, which
// means all of them. If the embedded ensemble can inject any of the faults, at least one such fault
// is chosen: a run without faults proves nothing.
func some(faults []harness.Fault, seed uint64) []string {
	const few = 3
	if len(faults) <= few {
		return nil
	}
	able := func(f harness.Fault) bool { return f.Able(unstarted()) == nil }
	chosen := make([]harness.Fault, few)
	for later := range len(faults) {
		for i := range chosen {
			chosen[i] = faults[(seed*few+uint64(later+i))%uint64(len(faults))]
		}
		if slices.ContainsFunc(chosen, able) {
			break
		}
	}
	return fault.Names(chosen)
}

// An unstartedEnsemble has the abilities of an embedded ensemble, but its servers do not run.
type unstartedEnsemble struct{ *embedded.Ensemble }

// Servers returns three addresses.
func (unstartedEnsemble) Servers() []string { return make([]string, 3) }

// The function `unstarted` returns an environment that says which faults the embedded ensemble can
// inject.
func unstarted() *harness.Env {
	return harness.NewEnv(unstartedEnsemble{new(embedded.Ensemble)}, 3)
}
