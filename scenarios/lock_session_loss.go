package scenarios

import (
	"context"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/fault"
)

// LockSessionLoss ends the sessions of clients that contend for a lock, in two ways. Either the
// client's proxy stalls for longer than the session timeout, or a second connection closes the
// session with its id and password. A lease cannot detect the second way. Holds may then overlap,
// and only the fenced resource prevents wrong writes.
func LockSessionLoss() harness.Scenario {
	return harness.Scenario{
		Name:       "lock-session-loss",
		Claim:      "However sessions are lost, one client at a time holds the lock, each holder learns of its loss, and the lock is granted again.",
		Guarantees: []string{"L1", "L2", "L4", "L7", "S2"},
		Clients:    5,
		Workload:   sessionLosers(openMutex(leased())),
		Faults:     faults("session"),
		Checkers: append(checker.Mutex(exposed(), 15*time.Second),
			checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.IfExercised(checker.LockOwnNodeIsFirst(exposed())),
			checker.LockGrantsInOrder(exposed())),
		// Even a run of 20 s can satisfy these guards: its plan has at least three faults, and they
		// take only half of the time.
		Guards: []checker.Checker{checker.SessionLosses(2), checker.Grants(20), checker.Contention(10)},
		Mutants: []harness.Mutant{{
			Name:     "deaf",
			Report:   "samuel#20, #190: the holder is never notified that it lost the lock",
			Violates: []string{"lock/no-overlap"},
			Workload: deaf(harness.NewResource),
		}, {
			Name:     "deaf-unfenced",
			Report:   "the same, with a resource that does not check tokens",
			Violates: []string{"lock/fenced-writes"},
			Workload: deaf(harness.NewUnfencedResource),
		}},
	}
}

func sessionLosers(open opener) func(*harness.Env) harness.Workload {
	return lockProgram{open: open, account: harness.NewResource, hold: mostlyShort(20*time.Millisecond, 500*time.Millisecond)}.workload
}

// The function `exposed` returns the envelope for faults that go beyond the assumptions of a lease.
// Such a fault closes a client's session from a second connection, deletes the znodes of grants,
// pauses clients' processes, gives these processes no further memory, or makes servers' timers run
// too fast.
func exposed() checker.Envelope { return checker.Envelope{Outside: fault.Exposing()} }

// The function `meddled` returns the envelope for faults that delete znodes of clients.
func meddled() checker.Envelope { return checker.Envelope{Outside: fault.Deleting()} }

// The function `faults` returns the faults that `list` names, for sessions with the timeout
// sessionTimeout. It panics if a name is wrong, because all lists are constants of this package.
func faults(list string) []harness.Fault {
	found, err := fault.Options{SessionTimeout: sessionTimeout}.Named(list)
	if err != nil {
		panic(err)
	}
	return found
}

// mostlyShort returns a function that draws random times: usually up to the first limit, and in one
// of eight calls up to the second.
func mostlyShort(short, long time.Duration) func(*harness.Client) time.Duration {
	return func(c *harness.Client) time.Duration {
		if c.Rand.IntN(8) == 0 {
			return upTo(long)(c)
		}
		return upTo(short)(c)
	}
}

// The function `deaf` returns the workload of programs that ignore the grant's context.
func deaf(resource func(string) *harness.Resource) func(*harness.Env) harness.Workload {
	open := func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		l, err := openMutex(leased())(ctx, c, path)
		lock := l.lock
		l.lock = func(ctx context.Context, want string) (held, error) {
			h, err := lock(ctx, want)
			if err == nil {
				h.Context = context.WithoutCancel(h.Context)
				h.ends, h.lowest = false, nil
			}
			return h, err
		}
		return l, err
	}
	return lockProgram{open: open, account: resource, hold: mostlyShort(20*time.Millisecond, 4*sessionTimeout)}.workload
}
