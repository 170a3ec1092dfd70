// Package scenarios are zkcoord's claims, put to the test: one file a scenario,
// each a value that says what is claimed, what program runs, what is broken and
// who judges. The same scenario runs on every kind of ensemble.
//
//	go test ./scenarios
//	zkcoord run lock-session-loss --ensemble container
//
// A scenario's mutants are broken programs, each with a bug that a real library
// had: a run with one has to be found invalid.
package scenarios

import (
	"fmt"
	"slices"

	"github.com/zkcoord/zkcoord/harness"
)

// All returns every scenario, in order of names.
func All() []harness.Scenario {
	return []harness.Scenario{
		Interop(),
		IsolatedFollower(),
		IsolatedLeader(),
		LockFaults(),
		LockSessionLoss(),
		Watch(),
	}
}

// Named returns the scenario of that name.
func Named(name string) (harness.Scenario, error) {
	all := All()
	i := slices.IndexFunc(all, func(s harness.Scenario) bool { return s.Name == name })
	if i < 0 {
		return harness.Scenario{}, fmt.Errorf("no scenario %q; there are %v", name, Names())
	}
	return all[i], nil
}

// Names returns the names of all scenarios.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}
