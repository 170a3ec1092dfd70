package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
)

// LockPause is the case that no lock can prevent: two clients believe that they hold the lock. A
// holder's process is paused, its session expires, another client is granted the lock, and the
// first holder continues where it stopped. In this case only the fenced resource prevents wrong
// writes. The scenario reports how long two clients believed that they held the lock.
func LockPause() harness.Scenario {
	outside := exposed()
	outside.Outside = append(outside.Outside, pauseHolder{}.Name())
	return harness.Scenario{
		Name:       "lock-pause",
		Claim:      "However long a holder's process is paused, the fenced resource stays correct, and the lock is granted again.",
		Guarantees: []string{"L3", "L7"},
		Clients:    4,

		ClientProcesses: true,
		Needs:           ownProcesses,
		Workload:        pausedHolders(ownProcess(openMutex(leased()))),
		Faults:          []harness.Fault{pauseHolder{}},
		Checkers:        checker.Mutex(outside, 30*time.Second),
		Guards:          []checker.Checker{grantsBeside(1), checker.Fenced(1), checker.Grants(3), checker.Contention(2)},
	}
}

// pausedHolders returns the workload. Client 0 holds the lock for longer than a pause of its
// process lasts, and then writes whether or not it has lost the lock.
func pausedHolders(open opener) func(*harness.Env) harness.Workload {
	hold := func(c *harness.Client) time.Duration {
		if c.ID == 0 {
			return 5 * sessionTimeout
		}
		return upTo(50 * time.Millisecond)(c)
	}
	return lockProgram{open: open, account: harness.NewResource, hold: hold, late: true}.workload
}

// grantsBeside requires n cases in which the lock was granted although an earlier holder had not
// been notified yet that it had lost the lock.
func grantsBeside(n int) checker.Checker {
	return checker.AtLeast("run/false-beliefs", n, "grants while a paused client still believed that it held the lock", func(h *history.History) (found int) {
		last := int32(-1)
		for _, hold := range h.Holds() {
			if hold.Begin.Index < last {
				found++
			}
			last = max(last, hold.Last())
		}
		return found
	})
}

// pauseHolder pauses the process of client 0 while it holds the lock. The pause lasts at least for
// the given time and until another client is granted the lock.
type pauseHolder struct {
	settle time.Duration // from the start of the hold until the pause
}

func (pauseHolder) Name() string { return "pause-holder" }

func (pauseHolder) Does() string {
	return "the process of the client that holds the lock is paused until the next grant"
}

// Exposes reports whether holds can overlap or outlive their znodes while the fault is active. It
// returns true, because a paused process cannot end its hold before it resumes, and another client
// may be granted the lock before that.
func (pauseHolder) Exposes() bool { return true }

func (pauseHolder) Able(env *harness.Env) error {
	if !env.ClientProcesses {
		return errors.New("clients do not run in separate processes (give --client-processes, or set Options.ClientProcesses)")
	}
	return nil
}

func (pauseHolder) Draw(r *rand.Rand, _ *harness.Env) harness.Step {
	return drawIsolation(r, sessionTimeout)
}

func (f pauseHolder) Inject(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	if !awaitHold(ctx, env) {
		return harness.Injected{}, ctx.Err()
	}
	c := env.Clients()[0]
	c.Pause(ctx, f.settle)
	p := c.Process()
	if p == nil { // the process of client 0 has just ended
		return harness.Injected{}, nil
	}
	before := grants(env)
	if err := p.Stop(ctx); err != nil {
		return harness.Injected{}, errors.Join(err, p.Continue())
	}
	stopped := time.Now()
	awaitTakeover(ctx, env, before, step.For)
	evidence := ""
	if c.Holding() && grants(env) > before {
		evidence = fmt.Sprintf("believed that it held for %v", time.Since(stopped).Round(time.Millisecond))
	}
	return harness.Injected{Evidence: evidence}, p.Continue()
}

const ownProcesses = "clients in separate processes"

// ownProcess returns an opener that runs a client's lock in a separate process if the run requires
// that. If not, the lock runs in this process, as `open` opens it.
func ownProcess(open opener) opener {
	apart := ofLibrary(peers.Zkcoord, client.Lock, sessionTimeout, allServers)
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		if !c.Env().ClientProcesses {
			return open(ctx, c, path)
		}
		return apart.open(ctx, c, path)
	}
}
