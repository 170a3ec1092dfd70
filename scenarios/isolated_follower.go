package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/scenarios/peers"
	"github.com/zkcoord/zkcoord/session"
)

// IsolatedFollower is the case that every lock on ZooKeeper fails which trusts
// its connection. Client 0 holds the lock through a follower. The follower is
// cut off from its peers, and goes on to answer pings and reads for up to
// syncLimit ticks, 10 s here; after the session timeout of 4 s the majority
// expires the session and grants the lock to somebody else.
func IsolatedFollower() harness.Scenario {
	return harness.Scenario{
		Name:       "isolated-follower",
		Claim:      "A client on a follower that is cut off knows that it lost the lock before anybody else is granted it.",
		Guarantees: []string{"L1", "L2", "S2"},
		Config:     ensemble.Config{Nodes: 3, TickTime: 2 * time.Second, SyncLimit: 5},
		Clients:    3,
		Workload: func(env *harness.Env) harness.Workload {
			return isolatedHolder(func(servers func(*harness.Client) []string) lockProgram {
				return lockProgram{open: func(ctx context.Context, c *harness.Client, path string) (locker, error) {
					return openMutex(session.Options{Timeout: isolatedTimeout, Servers: servers(c)})(ctx, c, path)
				}}
			})(env)
		},
		Faults: []harness.Fault{isolateFollower{}},
		Checkers: append(checker.Mutex(checker.Envelope{}, 30*time.Second),
			checker.IfExercised(checker.M10(checker.Envelope{}))),
		Guards: []checker.Checker{checker.Takeover(1), checker.Contention(1), checker.Grants(3)},
		Grace:  60 * time.Second,
		// The libraries as they are, in programs that do what their manuals say.
		Mutants: []harness.Mutant{{
			Name:     "zk-lock",
			Report:   "go-zookeeper's zk.Lock trusts the connection's state",
			Violates: []string{"M3"},
			Workload: isolatedHolder(func(servers func(*harness.Client) []string) lockProgram {
				return lockProgram{open: openZKLock(isolatedTimeout, servers)}
			}),
		}, {
			Name:     "curator",
			Report:   "Curator's InterProcessMutex trusts the connection's state",
			Violates: []string{"M3"},
			Workload: isolatedHolder(func(servers func(*harness.Client) []string) lockProgram {
				return lockProgram{open: openPeer(peers.Curator, isolatedTimeout, servers)}
			}),
		}, {
			Name:     "kazoo",
			Report:   "kazoo's Lock trusts the connection's state",
			Violates: []string{"M3"},
			Workload: isolatedHolder(func(servers func(*harness.Client) []string) lockProgram {
				return lockProgram{open: openPeer(peers.Kazoo, isolatedTimeout, servers)}
			}),
		}},
	}
}

const isolatedTimeout = 4 * time.Second

// isolatedHolder is the workload: client 0 uses the follower that will be cut
// off and holds the lock for long; the others use the other servers, and
// contend when client 0 holds the lock, so that each cut finds it holding.
func isolatedHolder(program func(servers func(*harness.Client) []string) lockProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		follower := -1
		p := program(func(c *harness.Client) []string { return serversOf(env, c, follower) })
		p.resource = harness.NewResource("account")
		p.hold = func(c *harness.Client) time.Duration {
			if c.ID == 0 {
				return 20 * time.Second
			}
			return 200 * time.Millisecond
		}
		var taken atomic.Bool
		p.holding = func(c *harness.Client, holds bool) {
			if c.ID == 0 {
				taken.Store(holds)
			}
		}
		p.before = func(ctx context.Context, c *harness.Client) {
			for c.ID != 0 && !taken.Load() && c.Pause(ctx, 20*time.Millisecond) {
			}
		}
		w := p.workload(env)
		w.Setup = func(ctx context.Context, env *harness.Env) (err error) {
			follower, err = anyFollower(ctx, env.Ensemble)
			return err
		}
		return w
	}
}

// serversOf gives client 0 the follower alone, and the others the rest.
func serversOf(env *harness.Env, c *harness.Client, follower int) []string {
	all := env.Servers()
	if c.ID == 0 {
		return all[follower : follower+1]
	}
	var rest []string
	for i, server := range all {
		if i != follower {
			rest = append(rest, server)
		}
	}
	return rest
}

// anyFollower is the first node that does not lead.
func anyFollower(ctx context.Context, e ensemble.Ensemble) (int, error) {
	leader, err := e.Leader(ctx)
	if err != nil {
		return 0, err
	}
	if leader == 0 {
		return 1, nil
	}
	return 0, nil
}

// partitioned is an ensemble whose links can be cut, with proof.
type partitioned interface {
	ensemble.Partitioner
	ensemble.DropCounter
}

// isolateFollower cuts the first follower off from its peers, for longer than
// it takes to expire a session there.
type isolateFollower struct{}

func (isolateFollower) Name() string { return "isolate-follower" }

func (isolateFollower) Able(env *harness.Env) error {
	if _, ok := env.Ensemble.(partitioned); !ok {
		return fmt.Errorf("a %s ensemble cannot be partitioned", env.Ensemble.Kind())
	}
	return nil
}

func (isolateFollower) Draw(r *rand.Rand, _ *harness.Env) harness.Step {
	return harness.Step{Target: "follower", For: 9*time.Second + time.Duration(r.Int64N(int64(2*time.Second)))}
}

func (isolateFollower) Inject(ctx context.Context, env *harness.Env, _ harness.Step) (harness.Wound, error) {
	follower, err := anyFollower(ctx, env.Ensemble)
	if err != nil {
		return harness.Wound{}, err
	}
	var links []ensemble.Link
	for peer := range env.Servers() {
		if peer != follower {
			links = append(links, ensemble.Link{From: follower, To: peer}, ensemble.Link{From: peer, To: follower})
		}
	}
	p := env.Ensemble.(partitioned)
	if err := p.Cut(ctx, links...); err != nil {
		return harness.Wound{}, err
	}
	return harness.Wound{
		Target: fmt.Sprintf("node%d", follower),
		Heal: func(ctx context.Context) (string, error) {
			dropped, err := p.Dropped(ctx)
			if err != nil || dropped == 0 {
				return "", err
			}
			return fmt.Sprintf("%d packets dropped", dropped), p.Mend(ctx)
		},
	}, nil
}
