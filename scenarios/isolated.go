package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// IsolatedFollower is a case in which every ZooKeeper lock that trusts its connection fails. Client
// 0 holds the lock through a follower. The follower is cut off from its peers, but answers pings
// and reads for up to syncLimit ticks, 10 s here. After the session timeout of 4 s, the majority
// expires the session and grants the lock to another client.
func IsolatedFollower() harness.Scenario {
	s := isolatedMutex(harness.Scenario{
		Name:   "isolated-follower",
		Claim:  "A client on a follower that is cut off learns that it lost the lock before any other client is granted it.",
		Config: ensemble.Config{Nodes: 3, TickTime: 2 * time.Second, SyncLimit: 5},
		Faults: []harness.Fault{isolate{length: 9 * time.Second}},
	}, anyFollower)
	// The mutants use the locks of go-zookeeper, Curator and kazoo without a change, in programs
	// that follow the manuals of these libraries.
	s.Mutants = []harness.Mutant{{
		Name:     "zk-lock",
		Report:   "go-zookeeper's zk.Lock trusts the connection's state",
		Violates: []string{"lock/no-overlap"},
		Workload: isolatedHolder(anyFollower, func(servers serversOf) lockProgram {
			return lockProgram{open: ofLibrary(peers.ZKLock, client.Lock, isolatedTimeout, servers).open}
		}),
	}, peerMutant(peers.Curator, "Curator's InterProcessMutex"), peerMutant(peers.Kazoo, "kazoo's Lock")}
	return s
}

func peerMutant(l peers.Library, recipe string) harness.Mutant {
	return harness.Mutant{
		Name:     l.String(),
		Report:   recipe + " trusts the connection's state",
		Violates: []string{"lock/no-overlap"},
		Needs:    l.String(),
		Workload: needing(isolatedHolder(anyFollower, func(servers serversOf) lockProgram {
			return lockProgram{open: ofLibrary(l, client.Lock, isolatedTimeout, servers).open}
		}), ofLibrary(l, client.Lock, isolatedTimeout, nil)),
	}
}

// IsolatedLeader is like IsolatedFollower, but the holder's server is the leader. The leader and
// one follower are cut off from the majority, which elects another leader. For a while, the old
// leader still answers requests, even sync. Then it gives up and closes its clients' connections,
// before the majority can have expired the session. So a program that treats a lost connection as a
// lost lock survives, but a program that waits for the expiry event does not.
func IsolatedLeader() harness.Scenario {
	s := isolatedMutex(harness.Scenario{
		Name:   "isolated-leader",
		Claim:  "A client on a leader that is cut off from the majority learns that it lost the lock before any other client is granted it.",
		Config: ensemble.Config{Nodes: 5, TickTime: 2 * time.Second, SyncLimit: 5},
		// The majority misses its leader for syncLimit ticks, 10 s. Then the majority elects
		// another leader, which expires the session.
		Faults: []harness.Fault{isolate{with: 1, length: 20 * time.Second}},
	}, anyLeader)
	s.Mutants = []harness.Mutant{untilExpired(anyLeader)}
	return s
}

// IsolatedClient is like IsolatedFollower, but the client itself is cut off from its healthy
// server. A program survives if it treats a lost connection as a lost lock. A program that waits
// for the expiry event does not, because the event cannot reach it.
func IsolatedClient() harness.Scenario {
	s := isolatedMutex(harness.Scenario{
		Name:   "isolated-client",
		Claim:  "A client that is cut off learns that it lost the lock before any other client is granted it.",
		Config: ensemble.Config{Nodes: 3, TickTime: 2 * time.Second, SyncLimit: 5},
		Faults: []harness.Fault{silence{}},
	}, anyFollower)
	s.Mutants = []harness.Mutant{untilExpired(anyFollower)}
	return s
}

func untilExpired(choose chooser) harness.Mutant {
	return harness.Mutant{
		Name:     "until-expired",
		Report:   "programs on zk.Lock that treat only Expired as a loss (samuel#20)",
		Violates: []string{"lock/no-overlap"},
		Workload: isolatedHolder(choose, func(servers serversOf) lockProgram {
			return lockProgram{open: ofLibrary(peers.ZKLockUntilExpired, client.Lock, isolatedTimeout, servers).open}
		}),
	}
}

// isolatedMutex completes the scenario s, in which client 0 or its server is cut off while client 0
// holds a lock. It adds clients that use zkcoord's lock, and the checkers of that lock.
func isolatedMutex(s harness.Scenario, choose chooser) harness.Scenario {
	s.Guarantees = []string{"L1", "L2", "S2"}
	s.Clients = 3
	s.Time = 60 * time.Second // a cut takes at least 9 s
	s.Grace = 60 * time.Second
	s.Workload = isolatedHolder(choose, func(servers serversOf) lockProgram {
		return lockProgram{open: func(ctx context.Context, c *harness.Client, path string) (locker, error) {
			return openMutex(session.Options{Timeout: isolatedTimeout, Servers: servers(ctx, c)})(ctx, c, path)
		}}
	})
	s.Checkers = append(checker.Mutex(checker.Envelope{}, 30*time.Second), checker.LockLossBeforeExpiry(checker.Envelope{}))
	s.Guards = []checker.Checker{checker.Takeovers(1), checker.Contention(1), checker.Grants(3)}
	return s
}

const isolatedTimeout = 4 * time.Second

// A chooser picks the server of client 0.
type chooser func(context.Context, ensemble.Ensemble) (int, error)

// serversOf returns the servers that a client uses in its next session.
type serversOf func(context.Context, *harness.Client) []string

// isolatedHolder returns the workload. Client 0 uses the server that will be cut off, and holds the
// lock for up to 20 s. The other clients use the other servers.
//
// The other clients join the lock queue only while client 0 is the client that got the lock last.
// When client 0 releases or loses the lock, each client in the queue gets it once. None of these
// clients joins the queue again before client 0 has got the lock again. Client 0 therefore holds
// the lock most of the time, and the fault can wait until client 0 holds it: see awaitHold. A
// client that lost its session in a cut opens another session.
func isolatedHolder(choose chooser, program func(serversOf) lockProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		var chosen atomic.Int32
		p := program(func(ctx context.Context, c *harness.Client) []string {
			if c.ID == 0 { // its last session may have ended with a cut, after which another server leads
				if now, err := choose(ctx, env.Ensemble); err == nil {
					chosen.Store(int32(now))
				}
			}
			all, one := env.Servers(), int(chosen.Load())
			if c.ID == 0 {
				return all[one : one+1]
			}
			return slices.Delete(all, one, one+1)
		})
		p.account, p.verifies = harness.NewResource, 1
		p.hold = func(c *harness.Client) time.Duration {
			if c.ID == 0 {
				return 20 * time.Second
			}
			return 200 * time.Millisecond
		}
		var contend atomic.Bool
		p.holding = func(c *harness.Client, holds bool) {
			if holds {
				contend.Store(c.ID == 0)
			}
		}
		p.before = func(ctx context.Context, c *harness.Client) {
			for c.ID != 0 && !contend.Load() && c.Pause(ctx, 20*time.Millisecond) {
			}
		}
		w := p.workload(env)
		w.Setup = func(ctx context.Context, env *harness.Env) error {
			first, err := choose(ctx, env.Ensemble)
			chosen.Store(int32(first))
			return err
		}
		return w
	}
}

func anyLeader(ctx context.Context, e ensemble.Ensemble) (int, error) { return e.Leader(ctx) }

// anyFollower returns the first node that does not lead.
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

// The type `isolate` is a fault that cuts off the server of client 0, together with `with` other
// servers. The cut lasts at least for `length`, and until the lock is granted again. If `with` is
// not zero, the servers that are cut off must include the leader: otherwise nothing is cut.
type isolate struct {
	with   int
	length time.Duration
}

func (isolate) Name() string { return "isolate-holder" }

func (isolate) Does() string {
	return "the server of the client that holds the lock is cut off, alone or with another one, until the next grant"
}

func (isolate) Able(env *harness.Env) error {
	if _, ok := env.Ensemble.(ensemble.Partitioner); !ok {
		return fmt.Errorf("the ensemble (%s) cannot be partitioned", env.Ensemble.Kind())
	}
	return nil
}

func (f isolate) Draw(r *rand.Rand, _ *harness.Env) harness.Step { return drawIsolation(r, f.length) }

func drawIsolation(r *rand.Rand, least time.Duration) harness.Step {
	return harness.Step{Target: "c0", For: least + time.Duration(r.Int64N(int64(2*time.Second)))}
}

// awaitHold waits until client 0 holds the lock. It reports whether that happens before the run
// ends. A cut tests the lock only while client 0 holds it, and a client in a separate process needs
// time to acquire it.
func awaitHold(ctx context.Context, env *harness.Env) bool {
	c := env.Clients()[0]
	for !c.Holding() && c.Pause(ctx, 20*time.Millisecond) {
	}
	return c.Holding()
}

func (f isolate) Inject(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	if !awaitHold(ctx, env) {
		return harness.Injected{}, ctx.Err()
	}
	group, err := f.group(env)
	if err != nil {
		return harness.Injected{}, err
	}
	if f.with > 0 {
		if leader, err := env.Ensemble.Leader(ctx); err != nil || !slices.Contains(group, leader) {
			return harness.Injected{}, nil
		}
	}
	var links []ensemble.Edge
	var others []string
	for peer, server := range env.Servers() {
		if !slices.Contains(group, peer) {
			others = append(others, server)
		}
		for _, node := range group {
			if !slices.Contains(group, peer) {
				links = append(links, ensemble.Edge{From: node, To: peer}, ensemble.Edge{From: peer, To: node})
			}
		}
	}
	before := grants(env)
	w, err := fault.Cut(ctx, env, links)
	if err != nil {
		return harness.Injected{}, err
	}
	recorded := recordExpiry(ctx, env, others)
	awaitTakeover(ctx, env, before, step.For)
	recorded()
	evidence, err := w.Heal(context.WithoutCancel(ctx))
	return harness.Injected{Target: w.Target, Evidence: evidence}, err
}

// The function `grants` returns how often the lock has been granted so far.
func grants(env *harness.Env) int { return env.Recorder().Progress().Holds }

// awaitTakeover waits for at least the given time, and until the number of grants differs from
// `before`. A cut tests nothing if it ends before the next grant. The time until that grant depends
// on the machine, because the servers may have to elect a leader first.
func awaitTakeover(ctx context.Context, env *harness.Env, before int, least time.Duration) {
	for begun := time.Now(); time.Since(begun) < least || grants(env) == before; {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// recordExpiry records the time at which the servers end the session of client 0. In the
// background, it searches the lock queue for a znode of this session, and waits until the znode is
// deleted. Client 0 is cut off and cannot close the session, so this deletion proves that the
// session has ended. If no znode of the session is found, nothing is recorded.
//
// Call the returned function after the next grant, because that grant proves that the session has
// ended. The returned function waits at most two seconds for the record, and then ends the search.
func recordExpiry(ctx context.Context, env *harness.Env, servers []string) (recorded func()) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if info, has := env.Clients()[0].Session(); has && awaitExpiry(ctx, env, servers, info.ID) {
			env.SessionEnded(info.ID, false)
		}
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(patience):
		}
		cancel()
		<-done
	}
}

// awaitExpiry searches the lock queue for a znode of the session `id`, and waits until the servers
// have deleted this znode. It reports whether they have. A read can observe the deletion a few
// milliseconds late, but never early.
func awaitExpiry(ctx context.Context, env *harness.Env, servers []string, id int64) bool {
	s, err := session.Open(ctx, session.Options{Servers: servers, Dial: env.Dial, Timeout: 5 * isolatedTimeout, NoIdleLease: true})
	if err != nil {
		return false
	}
	defer s.Close()
	own := ""
	for ctx.Err() == nil {
		if own == "" {
			own = ownedBy(ctx, s, znode.Join(env.Root(), "lock"), id)
		} else if stat, err := s.Exists(ctx, own); err == nil && stat == nil {
			return true
		}
		times.Sleep(ctx, 10*time.Millisecond)
	}
	return false
}

// ownedBy returns the path of a child of dir that the session owns, or "" if there is none.
func ownedBy(ctx context.Context, s *session.Session, dir string, id int64) string {
	list, err := s.Children(ctx, dir)
	if err != nil {
		return ""
	}
	for _, name := range list.Names {
		path := znode.Join(dir, name)
		if stat, err := s.Exists(ctx, path); err == nil && stat != nil && stat.EphemeralOwner == id {
			return path
		}
	}
	return ""
}

// The method `group` returns the server that client 0 is connected to, and the servers that are cut
// off with it.
func (f isolate) group(env *harness.Env) ([]int, error) {
	connected := holderProxy(env).Connected()
	if len(connected) == 0 {
		return nil, errors.New("client c0 is connected to no server")
	}
	servers := env.Servers()
	first := slices.Index(servers, connected[0])
	group := []int{first}
	for len(group) <= f.with {
		group = append(group, (first+len(group))%len(servers))
	}
	return group, nil
}

// The type `silence` is a fault that stalls all traffic between client 0 and its server.
type silence struct{}

func (silence) Name() string { return "silence-holder" }

func (silence) Does() string {
	return "all traffic between the client that holds the lock and its server stalls until the next grant"
}

func (silence) Able(*harness.Env) error { return nil }

func (silence) Draw(r *rand.Rand, _ *harness.Env) harness.Step {
	return drawIsolation(r, 9*time.Second)
}

func (silence) Inject(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	if !awaitHold(ctx, env) {
		return harness.Injected{}, ctx.Err()
	}
	before := grants(env)
	heal, evidence := fault.Stall(holderProxy(env))
	defer heal()
	recorded := recordExpiry(ctx, env, env.Servers())
	awaitTakeover(ctx, env, before, step.For)
	recorded()
	return harness.Injected{Evidence: evidence()}, nil
}

// holderProxy returns the proxy of client 0.
func holderProxy(env *harness.Env) *netfault.Proxy { return env.Clients()[0].Proxy() }
