package scenarios

import (
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/session"
)

// LockFaults is a lock under every fault there is.
func LockFaults() harness.Scenario {
	return harness.Scenario{
		Name:       "lock",
		Claim:      "Under every fault of servers, networks and sessions one client at a time holds the lock, and afterwards it goes on.",
		Guarantees: []string{"L1", "L2", "L3", "L4", "L7", "S2"},
		Clients:    5,
		Workload: func(env *harness.Env) harness.Workload {
			p := lockProgram{
				resource: harness.NewResource("account"),
				open:     openMutex(session.Options{Timeout: sessionTimeout}),
				hold:     mostlyShort(50*time.Millisecond, time.Second),
			}
			return p.workload(env)
		},
		Faults: faults("all"),
		Checkers: append(checker.Mutex(closedFromOutside(), 30*time.Second),
			checker.IfExercised(checker.M5()), checker.IfExercised(checker.M6()), checker.IfExercised(checker.M9(closedFromOutside())),
			checker.IfExercised(checker.M10(closedFromOutside()))),
		Guards: []checker.Checker{checker.Grants(20), checker.Contention(10)},
		Grace:  60 * time.Second,
	}
}
