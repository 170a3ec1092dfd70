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

// A protocol describes how clients in any language run a scenario: see docs/client-protocol.md.
type protocol struct {
	scenario func() harness.Scenario
	recipe   client.Recipe
	timeout  time.Duration // of sessions
	// workload returns the workload. Its argument is the function that creates fleets.
	workload func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload
}

// The function `protocols` returns the scenarios that have a protocol.
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
	whole := func(workload func(*fleet) func(*harness.Env) harness.Workload) func(func(serversOf) *fleet) func(*harness.Env) harness.Workload {
		return func(fleet func(serversOf) *fleet) func(*harness.Env) harness.Workload {
			return workload(fleet(allServers))
		}
	}
	queues := func(priorities int) func(func(serversOf) *fleet) func(*harness.Env) harness.Workload {
		return whole(func(f *fleet) func(*harness.Env) harness.Workload {
			return queueWorkload(queueProgram{pipes: supply[pipe]{fleet: f, apart: remotePipe}, priorities: priorities})
		})
	}
	return []protocol{
		{Barrier, client.Barrier, sessionTimeout, whole(func(f *fleet) func(*harness.Env) harness.Workload {
			return barrierWorkload(supply[gate]{fleet: f, apart: func(r *remote) gate { return remoteGate{r} }})
		})},
		{Counter, client.Counter, sessionTimeout, whole(func(f *fleet) func(*harness.Env) harness.Workload {
			return counterWorkload(supply[tallyOf]{fleet: f, apart: remoteCounters})
		})},
		{Election, client.Election, sessionTimeout, locks(candidates)},
		{Group, client.Group, sessionTimeout, whole(func(f *fleet) func(*harness.Env) harness.Workload {
			return groupWorkload(groupProgram{fleet: f})
		})},
		{IsolatedClient, client.Lock, isolatedTimeout, isolated(anyFollower)},
		{IsolatedFollower, client.Lock, isolatedTimeout, isolated(anyFollower)},
		{IsolatedLeader, client.Lock, isolatedTimeout, isolated(anyLeader)},
		{LockFaults, client.Lock, sessionTimeout, locks(lockWorkload)},
		{LockPause, client.Lock, sessionTimeout, locks(pausedHolders)},
		{LockSessionLoss, client.Lock, sessionTimeout, locks(sessionLosers)},
		{QueueClaims, client.Claims, sessionTimeout, whole(remoteClaims)},
		{QueueFIFO, client.Queue, sessionTimeout, queues(1)},
		{QueuePriority, client.PriorityQueue, sessionTimeout, queues(priorities)},
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

// WithClient returns s with clients that a shell command starts, instead of its own clients. If s
// has no protocol, the error names the scenarios that have one.
func WithClient(s harness.Scenario, command string) (harness.Scenario, error) {
	all := protocols()
	i := slices.IndexFunc(all, func(p protocol) bool { return p.scenario().Name == s.Name })
	if i < 0 {
		return s, fmt.Errorf("%s has no protocol for clients in other languages; these scenarios have one: %s", s.Name, strings.Join(WithProtocol(), ", "))
	}
	s = withProgram(s, all[i], func(context.Context) (client.Program, error) { return client.Shell(command), nil })
	s.Client, s.Needs, s.ClientProcesses = command, ownProcesses, true
	return s, nil
}

// withProgram returns s with clients that run the program.
func withProgram(s harness.Scenario, p protocol, program func(context.Context) (client.Program, error)) harness.Scenario {
	fleetOf := func(servers serversOf) *fleet {
		return &fleet{recipe: p.recipe, timeout: p.timeout, servers: servers, program: program}
	}
	s.Guarantees, s.Mutants = nil, nil // they apply to zkcoord's own clients
	s.Workload = needing(p.workload(fleetOf), fleetOf(nil))
	s.Checkers = ofAnyLanguage(s.Checkers)
	s.Guards = ofAnyLanguage(s.Guards)
	return s
}

// ofAnyLanguage returns the checkers that apply to clients in any language. Such clients promise
// only what their recipe promises, and have only the operations of the protocol.
func ofAnyLanguage(checkers []checker.Checker) (all []checker.Checker) {
	for _, c := range checkers {
		switch c.Properties()[0].ID {
		case "lock/no-release-after-loss", // the protocol requires a release after each grant, to clean up
			"lock/grants-in-order", // not every lock is fair
			"lock/own-node-is-first", "election/heir-sees-all", "election/observers-see-leaders", "semaphore/no-permit-lost",
			"queue/ack-with-effect", "group/changes-add-up", "group/followers-converge", "run/changes-reported", // the protocol lacks their operations
			"run/read-ahead", "run/conflicts": // not every queue reads ahead and sends transactions
		case "lock/tokens-rise", "lock/loss-before-expiry", "run/fenced",
			"election/epochs-rise", "election/one-leader-an-epoch", "election/no-epoch-twice":
			all = append(all, checker.IfTokens(c))
		case "group/members-listed": // not every library can list without a cache
			all = append(all, checker.IfExercised(c))
		default:
			all = append(all, c)
		}
	}
	return all
}

// The function `candidates` returns the workload of clients that campaign, lead for a while and
// resign.
func candidates(open opener) func(*harness.Env) harness.Workload {
	return lockProgram{
		name: "election", op: checker.OpCampaign,
		open: open, account: harness.NewResource,
		patience: often(6, 300*time.Millisecond), hold: usual,
	}.workload
}

// permitHolders returns the workload of clients that hold one permit each.
func permitHolders(open opener) func(*harness.Env) harness.Workload {
	return lockProgram{open: open, want: onePermit, patience: often(6, 300*time.Millisecond), hold: usual}.workload
}
