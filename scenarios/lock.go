package scenarios

import (
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// LockFaults runs a lock under every fault.
func LockFaults() harness.Scenario {
	return harness.Scenario{
		Name:       "lock",
		Claim:      "Under every fault of servers, networks and sessions one client at a time holds the lock, and it is granted again after the faults.",
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
			Report:   "kazoo#606, #730: the names, not their sequence numbers, decide which contender is first",
			Violates: []string{"lock/no-overlap"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{names: true})),
		}, {
			Name:     "unprotected",
			Report:   "samuel#229: the reply to the create is lost, and a znode without an owner blocks all contenders",
			Violates: []string{"client/waiters-served"},
			Faults:   []string{"link-cut"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{unprotected: true})),
		}, {
			Name:     "cancelled",
			Report:   "Shopify/zk, CURATOR-45, -79: a contender that gives up tries to delete its znode with the context that has ended, so the delete fails and the znode remains",
			Violates: []string{"client/waiters-served"},
			Workload: lockWorkload(openTextbook(leased(), mistakes{cancelled: true})),
		}, lateMutant("lock/no-overlap", lockWorkload(openTextbook(leased(), mistakes{late: true})))},
	}
}

// trustingMutant returns a mutant that trusts its session and violates the property.
func trustingMutant(property string, workload func(*harness.Env) harness.Workload) harness.Mutant {
	return harness.Mutant{
		Name:     "trusting",
		Report:   "samuel#20, #190: the holder trusts its grant until an event reports the loss",
		Violates: []string{property, "lock/loss-before-expiry"},
		Faults:   []string{"session-expire"},
		Workload: workload,
	}
}

// lateMutant returns a mutant that reports a release to its program too late and violates the
// property.
func lateMutant(property string, workload func(*harness.Env) harness.Workload) harness.Mutant {
	return harness.Mutant{
		Name:     "late",
		Report:   "a release deletes the znode first, and ends the holder's context only when the delete is confirmed",
		Violates: []string{property},
		Faults:   []string{"link-delay"}, // so the confirmation takes a noticeable time
		Workload: workload,
	}
}

func lockWorkload(open opener) func(*harness.Env) harness.Workload {
	return lockProgram{open: open, account: harness.NewResource, patience: often(6, 300*time.Millisecond), hold: usual}.workload
}
