// Package scenarios tests zkcoord's claims. A scenario is a value with the claim, the clients'
// program, the faults and the checkers. The same scenario runs on every kind of ensemble.
//
//	go test ./scenarios
//	go test ./scenarios -ensemble embedded -run LockSessionLoss -seed 7 -faults session-expire
//	go test ./scenarios -run TestSoak -ensemble embedded -soak 2h -timeout 0
//	zkcoord run lock-session-loss --ensemble container
//
// Other flags are, for example, -nodes, -time, -plan, -store and -junit. A test that fails prints
// the summary of the run and the path of its report. On the embedded ensemble it also prints a
// smaller run that fails the same way.
//
// A scenario's mutants are broken programs, most of them with a bug that a real library had. For
// each mutant, tests require at least one invalid run.
package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/fault"
)

// All returns every scenario, sorted by name.
func All() []harness.Scenario {
	return []harness.Scenario{
		Barrier(),
		Counter(),
		DoubleBarrier(),
		Election(),
		Group(),
		IdleElection(),
		IdleLock(),
		IdleQueue(),
		Interop(),
		InteropElection(),
		InteropRWLock(),
		InteropSemaphore(),
		IsolatedClient(),
		IsolatedFollower(),
		IsolatedLeader(),
		LockFaults(),
		LockPause(),
		LockPauseSQL(),
		LockSessionLoss(),
		MultiLock(),
		QueueClaims(),
		QueueFIFO(),
		QueuePriority(),
		Register(),
		RWLock(),
		Semaphore(),
		Sessions(),
		ShellLock(),
		Watch(),
	}
}

// Named returns the scenario with the given name. A name such as isolated-follower+zk-lock returns
// the scenario with that mutant.
func Named(name string) (harness.Scenario, error) {
	name, mutant, mutated := strings.Cut(name, "+")
	all := All()
	i := slices.IndexFunc(all, func(s harness.Scenario) bool { return s.Name == name })
	switch {
	case i < 0:
		return harness.Scenario{}, fmt.Errorf("no scenario %q", name)
	case !mutated:
		return all[i], nil
	}
	j := slices.IndexFunc(all[i].Mutants, func(m harness.Mutant) bool { return m.Name == mutant })
	if j < 0 {
		return harness.Scenario{}, fmt.Errorf("%s has no mutant %q", name, mutant)
	}
	return all[i].Mutate(all[i].Mutants[j]), nil
}

// Names returns the names of all scenarios.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}

// With adds the named faults to s, unless s has them already. For example, it can add faults of
// clocks and disks, which most scenarios do not have by default. As in fault.Named, a name selects
// one fault or a family of faults. The faults of a family have names that begin with the family's
// name and a dash.
//
// With also returns the names of all selected faults. It returns an unknown name unchanged, and the
// caller checks it.
func With(s harness.Scenario, names ...string) (harness.Scenario, []string) {
	options := fault.Options{SessionTimeout: sessionTimeout}
	var meant []string
	for _, name := range names {
		family, err := options.Named(name)
		if err != nil || has(s, name) {
			meant = append(meant, name)
			continue
		}
		meant = append(meant, fault.Names(family)...)
	}
	// The faults that a single call of Every returns share a record of the clients and edges that
	// active faults use. Because of this record, the heal of one fault does not undo another fault.
	// Faults of different calls share no record. So this function takes two kinds of faults from
	// one call: the new faults, and faults that replace the scenario's own faults of the same
	// names.
	every := slices.DeleteFunc(options.Every(), func(f harness.Fault) bool { return !has(s, f.Name()) && !slices.Contains(meant, f.Name()) })
	others := slices.DeleteFunc(slices.Clone(s.Faults), func(f harness.Fault) bool { return slices.Contains(fault.Names(every), f.Name()) })
	s.Faults = append(others, every...)
	return s, meant
}

func has(s harness.Scenario, oneFault string) bool {
	return slices.ContainsFunc(s.Faults, func(one harness.Fault) bool { return one.Name() == oneFault })
}
