package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/client"
)

// A protocol describes a scenario with clients in any language: see docs/client-protocol.md.
type protocol struct {
	scenario func() harness.Scenario
	recipe   client.Recipe
	timeout  time.Duration // of sessions
	// workload makes the workload from the function that creates fleets.
	workload func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload
}

// protocols returns the scenarios that have a protocol.
func protocols() []protocol {
	locks := func(workload func(opener) func(*harness.Env) harness.Workload) func(func(serversOf) *fleet) func(*harness.Env) harness.Workload {
		return func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload {
			return workload(fleet(allServers).open)
		}
	}
	isolated := func(choose chooser) func(func(serversOf) *fleet) func(*harness.Env) harness.Workload {
		return func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload {
			return isolatedHolder(choose, func(servers serversOf) lockProgram { return lockProgram{open: fleet(servers).open} })
		}
	}
	return []protocol{
		{Election, client.Election, sessionTimeout, locks(candidates)},
		{IsolatedClient, client.Lock, isolatedTimeout, isolated(anyFollower)},
		{IsolatedFollower, client.Lock, isolatedTimeout, isolated(anyFollower)},
		{IsolatedLeader, client.Lock, isolatedTimeout, isolated(anyLeader)},
		{LockFaults, client.Lock, sessionTimeout, locks(lockWorkload)},
		{LockPause, client.Lock, sessionTimeout, locks(pausedHolders)},
		{LockSessionLoss, client.Lock, sessionTimeout, locks(sessionLosers)},
		{QueueFIFO, client.Queue, sessionTimeout, func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload {
			return queueWorkload(queueProgram{fleet: fleet(allServers), priorities: 1})
		}},
		{RWLock, client.RWLock, sessionTimeout, locks(rwWorkload)},
		{Semaphore, client.Semaphore, sessionTimeout, locks(permitHolders)},
	}
}

// WithProtocol returns the names of the scenarios that clients in other languages can run.
func WithProtocol() (names []string) {
	for _, p := range protocols() {
		names = append(names, p.scenario().Name)
	}
	return names
}

// WithClient returns s with clients that a shell command starts, instead of its own clients. The
// error for a scenario without a protocol names the scenarios that have one.
func WithClient(s harness.Scenario, command string) (harness.Scenario, error) {
	all := protocols()
	i := slices.IndexFunc(all, func(p protocol) bool { return p.scenario().Name == s.Name })
	if i < 0 {
		return s, fmt.Errorf("%s has no protocol for clients in other languages; these scenarios have one: %s", s.Name, strings.Join(WithProtocol(), ", "))
	}
	p := all[i]
	fleetOf := func(servers serversOf) *fleet {
		return &fleet{recipe: p.recipe, timeout: p.timeout, servers: servers, program: func(context.Context) (client.Program, error) {
			return client.Shell(command), nil
		}}
	}
	s.Client, s.Needs, s.ClientProcesses = command, ownProcesses, true
	s.Guarantees, s.Mutants = nil, nil // they are zkcoord's
	s.Workload = needing(p.workload(fleetOf), fleetOf(nil))
	s.Checkers = ofAnyLanguage(s.Checkers)
	s.Guards = ofAnyLanguage(s.Guards)
	return s, nil
}

// ofAnyLanguage returns the checkers for clients that promise only what their recipe promises and
// have only the operations of the protocol.
func ofAnyLanguage(checkers []checker.Checker) (all []checker.Checker) {
	for _, c := range checkers {
		switch c.Properties()[0].ID {
		case "lock/no-release-after-loss", // the protocol requires a release after each grant, to clean up
			"lock/grants-in-order",                                                                                           // not every lock is fair
			"lock/own-node-is-first", "election/heir-sees-all", "election/observers-see-leaders", "semaphore/no-permit-lost": // the protocol has no such operation
		case "lock/tokens-rise", "lock/loss-before-expiry", "run/fenced",
			"election/epochs-rise", "election/one-leader-an-epoch", "election/no-epoch-twice":
			all = append(all, checker.IfTokens(c))
		default:
			all = append(all, c)
		}
	}
	return all
}

// candidates campaign, lead for a while and resign.
func candidates(open opener) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := lockProgram{
			name: "election", op: checker.OpCampaign,
			resource: harness.NewResource("account"),
			open:     open,
			patience: often(6, 300*time.Millisecond),
			hold:     usual,
		}
		return p.workload(env)
	}
}

// permitHolders hold one permit each.
func permitHolders(open opener) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := lockProgram{open: open, want: onePermit, patience: often(6, 300*time.Millisecond), hold: usual}
		return p.workload(env)
	}
}

// A clientPipe uses a client of a fleet as a pipe.
type clientPipe struct {
	*client.Client
	useful bool
}

// enter begins the life of a client of a queue.
func (f *fleet) enter(ctx context.Context, c *harness.Client, path string) (pipe, life, func(), error) {
	started, err := f.start(ctx, c.Env(), c, path)
	if err != nil {
		f.failed(c, err)
		return nil, nil, nil, err
	}
	q := &clientPipe{Client: started}
	return q, started, func() { f.ended(c, started, q.useful) }, nil
}

// drain takes the remaining items.
func (f *fleet) drain(ctx context.Context, env *harness.Env, path string) error {
	c, err := f.start(ctx, env, nil, path)
	if err != nil {
		return err
	}
	defer c.Close()
	return drain(ctx, env, path, &clientPipe{Client: c})
}

func (q *clientPipe) do(ctx context.Context, r client.Request) (string, error) {
	reply, err := q.Do(ctx, r)
	q.useful = q.useful || err == nil
	return reply.Value, err
}

func (q *clientPipe) put(ctx context.Context, _ int, value string) error {
	_, err := q.do(ctx, client.Request{Op: client.OpPut, Value: value})
	return err
}

// takeTime is how long a take waits at most, because the client cannot be interrupted.
const takeTime = 2 * time.Second

func (q *clientPipe) take(ctx context.Context) (string, error) {
	value, err := q.within(ctx, takeTime)
	if err == nil && value == "" {
		err = harness.Failed(fmt.Errorf("no item within %v", takeTime))
	}
	return value, err
}

func (q *clientPipe) tryTake(ctx context.Context) (string, error) { return q.within(ctx, 0) }

func (q *clientPipe) within(ctx context.Context, d time.Duration) (string, error) {
	wait := d.Milliseconds()
	return q.do(ctx, client.Request{Op: client.OpTake, WaitMS: &wait})
}

// count returns zero. The empty reply to the last take implies it, and the protocol has no
// operation that counts.
func (q *clientPipe) count(context.Context) (int, error) { return 0, nil }
