package scenarios

import (
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// In this test, clients use locks with mistakes. The servers' logs show that a hold lasted longer
// than its znode. This does not depend on what other clients recorded.
func TestServersLogsConvictLocksThatTrustTheirConnection(t *testing.T) {
	for _, c := range []struct {
		scenario harness.Scenario
		mutant   string
	}{{IsolatedFollower(), "zk-lock"}, {LockFaults(), "trusting"}, {Semaphore(), "late"}} {
		i := slices.IndexFunc(c.scenario.Mutants, func(m harness.Mutant) bool { return m.Name == c.mutant })
		s := c.scenario.Mutate(c.scenario.Mutants[i])
		const seeds = 10
		convicted := false
		for seed := uint64(1); seed <= seeds && !convicted; seed++ {
			one, _ := virtually(t, s, VirtualOptions(s, seed)).Of("witness/ended-before-deletion")
			convicted = one.Verdict == checker.Invalid
		}
		if !convicted {
			t.Errorf("%s: in %d seeds the logs show no hold that outlived its znode, want one", s.Name, seeds)
		}
	}
}
