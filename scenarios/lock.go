package scenarios

import (
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// LockFaults is a lock under every fault there is.
func LockFaults() harness.Scenario {
	return harness.Scenario{
		Name:       "lock",
		Claim:      "Under every fault of servers, networks and sessions one client at a time holds the lock, and afterwards it goes on.",
		Guarantees: []string{"L1", "L2", "L3", "L4", "L7", "S2"},
		Clients:    5,
		Workload:   lockWorkload(ownProcess(openMutex(leased()))),
		Faults:     faults("all"),
		Checkers: append(checker.Mutex(exposed(), 30*time.Second),
			checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.IfExercised(checker.LockOwnNodeIsFirst(exposed())),
			checker.IfExercised(checker.LockGrantsInOrder(exposed())),
			checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))),
		Guards: []checker.Checker{checker.Grants(10), checker.Contention(5)},
		Mutants: []harness.Mutant{trustingMutant("lock/no-overlap", lockWorkload(openMutex(trusting()))), {
			Name:     "names",
			Report:   "kazoo#606, #730: not the numbers say who is first",
			Violates: []string{"lock/no-overlap"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{names: true})),
		}, {
			Name:     "unprotected",
			Report:   "samuel#229: the reply to the create is lost, and the node that nobody knows of blocks all",
			Violates: []string{"client/waiters-served"},
			Faults:   []string{"link-cut"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{unprotected: true})),
		}, {
			Name:     "cancelled",
			Report:   "Shopify/zk, CURATOR-45, -79: who gives up waiting leaves its node, as it deletes it with the ended context",
			Violates: []string{"client/waiters-served"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{cancelled: true})),
		}, lateMutant("lock/no-overlap", lockWorkload(openTextbook(leased(), mistakes{late: true})))},
	}
}

// trustingMutant trusts its session, and violates the property.
func trustingMutant(property string, workload func(*harness.Env) harness.Workload) harness.Mutant {
	return harness.Mutant{
		Name:     "trusting",
		Report:   "samuel#20, #190: the holder believes in its hold until it is told otherwise",
		Violates: []string{property, "lock/loss-before-expiry"},
		Faults:   []string{"session-expire"},
		Workload: workload,
	}
}

// lateMutant tells its program of a release too late, and violates the property.
func lateMutant(property string, workload func(*harness.Env) harness.Workload) harness.Mutant {
	return harness.Mutant{
		Name:     "late",
		Report:   "a release deletes the node first, and ends the holder's context when that is confirmed",
		Violates: []string{property},
		Workload: workload,
	}
}

func lockWorkload(open opener) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := lockProgram{
			resource: harness.NewResource("account"),
			open:     open,
			patience: often(6, 300*time.Millisecond),
			hold:     usual,
		}
		return p.workload(env)
	}
}
