package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/scenarios/peers"
)

// LockPause is what no lock can help: a holder's process stands still, its session expires, somebody else is granted the lock, and
// the holder goes on where it stood. The fenced resource protects then; for how long two believed to hold is reported.
func LockPause() harness.Scenario {
	outside := checker.Envelope{Outside: []string{"client-pause"}}
	return harness.Scenario{
		Name:       "lock-pause",
		Claim:      "For however long a holder's process stands still, the fenced resource stays right, and the lock goes on.",
		Guarantees: []string{"L3", "L7"},
		Clients:    4,

		ClientProcesses: true,
		Needs:           ownProcesses,
		Workload:        pausedHolders,
		Faults:          faults("client"),
		Checkers:        checker.Mutex(outside, 30*time.Second),
		Guards:          []checker.Checker{checker.Grants(3), checker.Contention(2)},
		Grace:           60 * time.Second,
	}
}

func pausedHolders(env *harness.Env) harness.Workload {
	p := lockProgram{
		resource: harness.NewResource("account"),
		open:     ownProcess(openMutex(leased())),
		hold:     mostlyShort(50*time.Millisecond, 4*sessionTimeout),
	}
	return p.workload(env)
}

const ownProcesses = "clients in processes of their own"

// ownProcess runs a client's lock in a process of its own if the run asks for that, else in this one.
func ownProcess(open opener) opener {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		if !c.Env().ClientProcesses {
			return open(ctx, c, path)
		}
		apart := openPeer(peers.Zkcoord, peers.Mutex, sessionTimeout, func(c *harness.Client) []string { return c.Env().Servers() })
		return apart(ctx, c, path)
	}
}
