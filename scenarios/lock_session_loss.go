package scenarios

import (
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/session"
)

// LockSessionLoss takes sessions away from clients that contend for a lock.
func LockSessionLoss() harness.Scenario {
	return harness.Scenario{
		Name:       "lock-session-loss",
		Claim:      "However sessions are lost, one client at a time holds the lock, knows when it does not, and the lock goes on.",
		Guarantees: []string{"L1", "L2", "L4", "L7", "S2"},
		Clients:    5,
		Workload: func(env *harness.Env) harness.Workload {
			p := lockProgram{
				resource: harness.NewResource("account"),
				open:     openMutex(session.Options{Timeout: sessionTimeout}),
				hold:     upTo(40 * time.Millisecond),
			}
			return p.workload(env)
		},
		Checkers: checker.Mutex(checker.Envelope{}, 15*time.Second),
	}
}
