package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// In the scenarios idle-lock, idle-election and idle-queue, a session holds nothing for a time that
// is longer than its timeout T. The heartbeats of package session check the znodes of the session's
// holds. An idle session has no holds and sends no heartbeats, so its lease is not renewed. Idle
// sessions are connected to one follower. A fault affects that follower or the leader for about T.
// The idle clients send requests at about the time at which the leader expires their sessions.
// Rivals on other servers send their requests right after the idle clients.
//
// The ensemble uses ZooKeeper's default tick and sync limit. The leader drops a silent follower
// after 10 s. Before that, it expires the sessions.
const (
	idleTick    = 2 * time.Second
	idleTimeout = 3 * idleTick
)

// The function `idle` completes s, a scenario of idle clients. It also gives s a mutant, which
// violates the given property.
func idle(s harness.Scenario, property string, workload func(*naps, func(session.Options) session.Options) func(*harness.Env) harness.Workload) harness.Scenario {
	naps := &naps{runs: make(map[*harness.Env]*nap)}
	s.Config = ensemble.Config{Nodes: 3, TickTime: idleTick, SyncLimit: 5}
	s.Time = 60 * time.Second
	s.Workload, s.Faults = workload(naps, asIs), idleFaults(naps)
	s.Mutants = []harness.Mutant{{
		Name:     "trusts-idle",
		Report:   "after an idle time, the session believes that it lives for one timeout after its last ping, which the leader may not have received",
		Violates: []string{property},
		Workload: workload(naps, trustingIdle),
	}}
	return s
}

// IdleLock has pairs of clients that contend for a lock after one of them was idle.
func IdleLock() harness.Scenario {
	return idle(harness.Scenario{
		Name:       "idle-lock",
		Claim:      "A client that was idle for longer than its session timeout holds a lock alone, whatever happened to its server meanwhile.",
		Guarantees: []string{"L1", "L2", "S2"},
		Clients:    8,
		Checkers: append(checker.Mutex(checker.Envelope{}, 30*time.Second),
			checker.IfExercised(checker.LockOwnNodeIsFirst(checker.Envelope{})),
			checker.IfExercised(checker.LockLossBeforeExpiry(checker.Envelope{}))),
		Guards: []checker.Checker{checker.Grants(8), askedWhileBroken(1)},
	}, "lock/no-overlap", idleLock)
}

// IdleElection has candidates that campaign after they were idle.
func IdleElection() harness.Scenario {
	return idle(harness.Scenario{
		Name:       "idle-election",
		Claim:      "A candidate that was idle for longer than its session timeout leads alone, whatever happened to its server meanwhile.",
		Guarantees: []string{"E1", "E2", "E3", "S2"},
		Clients:    4,
		Calm:       15 * time.Second,
		Checkers: []checker.Checker{checker.ElectionEpochsRise(),
			checker.ElectionOneLeaderAnEpoch(),
			checker.ElectionNoOverlap(checker.Envelope{}),
			checker.ElectionFencedWrites(),
			checker.ElectionLossBeforeReelection(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpCampaign, 30*time.Second),
			checker.IfExercised(checker.LockLossBeforeExpiry(checker.Envelope{}))},
		Guards: []checker.Checker{checker.Grants(4), askedWhileBroken(1)},
	}, "election/no-overlap", idleElection)
}

func idleElection(naps *naps, with func(session.Options) session.Options) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		n := naps.begin(env)
		return n.schedule(electionWorkload(electionProgram{idle: n, with: with})(env))
	}
}

// IdleQueue has consumers that claim items after they were idle.
func IdleQueue() harness.Scenario {
	s := idle(harness.Scenario{
		Name:       "idle-queue",
		Claim:      "A consumer that was idle for longer than its session timeout claims an item alone, whatever happened to its server meanwhile.",
		Guarantees: []string{"Q1", "Q2", "Q3", "Q7", "Q10", "S2"},
		Clients:    8,
		Calm:       10 * time.Second,
		Checkers: []checker.Checker{checker.QueueNothingInvented(),
			checker.QueueNothingLost(),
			checker.QueueNothingTwice(),
			checker.QueueDrainedIsEmpty(),
			checker.QueueAckWithEffect(),
			checker.LockNoOverlap(checker.Envelope{}),
			checker.NothingLeft("znodes", "goroutines"), checker.IfExercised(checker.LockLossBeforeExpiry(checker.Envelope{}))},
		Guards: []checker.Checker{taken(8), askedWhileBroken(1)},
	}, "lock/no-overlap", idleQueue)
	// The leader expires a session in two steps. It first finds that the session's timeout is over,
	// and closes the session some time later. A claim takes two writes, and the mutant makes a
	// mistake only if both writes are made between the two steps. The fault idle-log-stall stalls
	// the leader's log, so the time between the steps is long enough.
	s.Mutants[0].Faults = []string{"idle-log-stall"}
	return s
}

func idleQueue(naps *naps, with func(session.Options) session.Options) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		n := naps.begin(env)
		names := new(atomic.Int64)
		var pairs []harness.Workload
		for i := range (len(env.Clients()) + 1) / 2 {
			p := claimsProgram{idle: n, with: with, name: fmt.Sprintf("queue-%d", i), names: names}
			pairs = append(pairs, claimsWorkload(p)(env))
		}
		return n.schedule(inPairs(pairs))
	}
}

// trustingIdle returns o with a former rule of the lease. By this rule, the first write after
// idleness counts as proof that the leader had received the session's earlier activity.
func trustingIdle(o session.Options) session.Options {
	o.UnsafeTrustIdle = true
	return o
}

// asIs returns the options unchanged.
func asIs(o session.Options) session.Options { return o }

// idleLock returns the workload. Clients 0, 2, 4 ... are idle on one follower. Each has its own
// lock, and the client with the next number is its rival.
func idleLock(naps *naps, with func(session.Options) session.Options) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		n := naps.begin(env)
		var pairs []harness.Workload
		for i := range (len(env.Clients()) + 1) / 2 {
			p := lockProgram{
				name:    fmt.Sprintf("lock-%d", i),
				account: func(name string) *harness.Resource { return harness.NewResource(fmt.Sprintf("%s-%d", name, i)) },
				open: func(ctx context.Context, c *harness.Client, path string) (locker, error) {
					n.settle(c)
					return openMutex(with(n.options(ctx, c)))(ctx, c, path)
				},
				patience: func(*harness.Client) time.Duration { return 2 * idleTimeout },
				hold:     n.hold,
				before:   n.sleep,
			}
			pairs = append(pairs, p.workload(env))
		}
		return n.schedule(inPairs(pairs))
	}
}

// inPairs gives each pair of clients its own workload.
func inPairs(pairs []harness.Workload) harness.Workload {
	each := func(of func(harness.Workload) func(context.Context, *harness.Env) error) func(context.Context, *harness.Env) error {
		return func(ctx context.Context, env *harness.Env) error {
			for _, w := range pairs {
				if f := of(w); f != nil {
					if err := f(ctx, env); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	return harness.Workload{
		Setup: each(func(w harness.Workload) func(context.Context, *harness.Env) error { return w.Setup }),
		Work:  func(ctx context.Context, c *harness.Client) error { return pairs[c.ID/2].Work(ctx, c) },
		Final: each(func(w harness.Workload) func(context.Context, *harness.Env) error { return w.Final }),
	}
}

// naps maps each current run to its schedule, which the run's faults and clients share.
type naps struct {
	mu   sync.Mutex
	runs map[*harness.Env]*nap
}

// A nap is the schedule of one run.
type nap struct {
	naps   *naps
	env    *harness.Env
	server atomic.Int32 // index of the server of the idle clients, a follower

	mu     sync.Mutex
	asleep map[int]bool // by client id: the client has done nothing for longer than its session timeout
	broken int          // number of faults that have begun
	asked  map[int]int  // number of a pair -> number of requests of its idle client
}

func (n *naps) begin(env *harness.Env) *nap {
	n.mu.Lock()
	defer n.mu.Unlock()
	one := &nap{naps: n, env: env, asleep: make(map[int]bool), asked: make(map[int]int)}
	n.runs[env] = one
	return one
}

func (n *naps) of(env *harness.Env) *nap {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs[env]
}

// The method `schedule` returns the workload w with two additions. The setup also delays packets
// between servers, and chooses the follower to which the idle clients connect. The final part also
// removes the run from n.naps.
func (n *nap) schedule(w harness.Workload) harness.Workload {
	setup, final := w.Setup, w.Final
	w.Setup = func(ctx context.Context, env *harness.Env) error {
		if setup != nil {
			if err := setup(ctx, env); err != nil {
				return err
			}
		}
		giveLinksLatency(env)
		return n.choose(ctx, env)
	}
	w.Final = func(ctx context.Context, env *harness.Env) error {
		n.naps.end(env)
		if final != nil {
			return final(ctx, env)
		}
		return nil
	}
	return w
}

// giveLinksLatency delays packets between the servers of the model by a millisecond. Without the
// delay, a leader that resumes after a pause would receive its followers' packets before it expires
// sessions, unlike a real leader.
func giveLinksLatency(env *harness.Env) {
	e, ok := env.Ensemble.(*embedded.Ensemble)
	if !ok {
		return
	}
	for from := range env.Servers() {
		for to := range env.Servers() {
			if from != to {
				e.Model.DelayLink(zktest.Link{From: from, To: to}, time.Millisecond)
			}
		}
	}
}

func (n *naps) end(env *harness.Env) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.runs, env)
}

// drowsy reports whether a client is one of those that are idle on the follower.
func drowsy(c *harness.Client) bool { return c.ID%2 == 0 }

// The method `choose` chooses a follower for the idle clients, and stores its index in n.server.
func (n *nap) choose(ctx context.Context, env *harness.Env) error {
	at, err := anyFollower(ctx, env.Ensemble)
	if err == nil {
		n.server.Store(int32(at))
	}
	return err
}

// The method `settle` adds latency between an idle client and its server, so that the client learns
// late that its session is over.
func (n *nap) settle(c *harness.Client) {
	if drowsy(c) {
		far := upTo(40 * time.Millisecond)(c)
		c.Proxy().Delay(far, far)
	}
}

// The method `options` returns the options of a client's next session. The pairs of clients have
// numbers from 0, and some options depend on the number of the client's pair:
//
//   - In the pairs 1, 3, 5 ..., the sessions do not set TickTime.
//   - In pair 1, the idle client sends no requests for its lease while it is idle.
//   - In pair 3, the idle client can move between servers.
func (n *nap) options(ctx context.Context, c *harness.Client) session.Options {
	if drowsy(c) {
		_ = n.choose(ctx, n.env) // if there is no leader, the previous choice remains
	}
	all, at, pair := n.env.Servers(), int(n.server.Load()), c.ID/2
	o := session.Options{Timeout: idleTimeout, NoIdleLease: pair == 1 && drowsy(c)}
	if pair%2 == 0 {
		o.TickTime = idleTick
	}
	switch {
	case !drowsy(c):
		o.Servers = slices.Delete(all, at, at+1)
	case pair != 3:
		o.Servers = all[at : at+1]
	}
	return o
}

// The method `sleep` waits until client c should send its next request. An idle client first sleeps
// for longer than its session timeout. It then waits until a fault begins, and after that until
// about the time at which the leader expires its session. The rival waits until the idle client's
// wait is over, and then for up to 300 ms.
func (n *nap) sleep(ctx context.Context, c *harness.Client) {
	const look = 20 * time.Millisecond
	pair := c.ID / 2
	if !drowsy(c) {
		for seen := n.askedBy(pair); n.askedBy(pair) == seen && c.Pause(ctx, look); {
		}
		c.Pause(ctx, upTo(300*time.Millisecond)(c))
		return
	}
	if c.Pause(ctx, idleTimeout*5/4) {
		n.note(func() { n.asleep[c.ID] = true })
		for seen, end := n.faults(), time.Now().Add(4*idleTimeout); n.faults() == seen && time.Now().Before(end) && c.Pause(ctx, look); {
		}
		c.Pause(ctx, idleTimeout-idleTick/2+upTo(3*idleTick/2)(c))
		n.note(func() { n.asleep[c.ID] = false })
	}
	n.note(func() { n.asked[pair]++ })
}

// The method `hold` returns how long a client keeps a lock, a term or a claim. An idle client keeps
// it for longer than its rival. So if the idle client has lost its session without noticing, its
// hold overlaps with the hold of its rival.
func (n *nap) hold(c *harness.Client) time.Duration {
	if drowsy(c) {
		return idleTick/2 + upTo(2*idleTick)(c)
	}
	return idleTick/4 + upTo(idleTick)(c)
}

func (n *nap) note(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *nap) faults() (count int) {
	n.note(func() { count = n.broken })
	return count
}

func (n *nap) askedBy(pair int) (count int) {
	n.note(func() { count = n.asked[pair] })
	return count
}

// If `asleep` is true, await waits until all idle clients sleep. If `asleep` is false, await waits
// until all idle clients have woken up to send their requests. It returns false if the run's work
// ends before that.
func (n *nap) await(ctx context.Context, asleep bool) bool {
	done := func() (all bool) {
		n.note(func() {
			all = !slices.ContainsFunc(n.env.Clients(), func(c *harness.Client) bool {
				return drowsy(c) && n.asleep[c.ID] != asleep
			})
		})
		return all
	}
	c := n.env.Clients()[0]
	for !done() && c.Pause(ctx, 20*time.Millisecond) {
	}
	return done()
}

// An idleFault breaks something while clients are idle, for about the length of their session
// timeout.
type idleFault struct {
	naps          *naps
	name, does    string
	able          func(ensemble.Ensemble) bool
	least, spread time.Duration // the length is `least` plus a random time below `spread`
	inject        func(ctx context.Context, env *harness.Env, f idleHit) (evidence string, err error)
}

// An idleHit is one injection of an idleFault.
type idleHit struct {
	leader, at int           // at is the follower of the idle clients
	length     time.Duration // time until the heal
	begun      func()        // inject calls it when the fault has begun
}

func idleFaults(n *naps) []harness.Fault {
	partitions := func(e ensemble.Ensemble) bool { _, ok := e.(ensemble.Partitioner); return ok }
	return []harness.Fault{
		idleFault{n, "idle-hold", "packets from the leader to the server of idle clients are held back",
			partitions, idleTimeout - idleTick/2, 2 * idleTick, holdFromLeader},
		idleFault{n, "idle-partition", "the server of idle clients is cut off",
			partitions, idleTimeout - idleTick, 2 * idleTick, partitionFollower},
		idleFault{n, "idle-pause-leader", "the leader is paused while clients are idle",
			func(e ensemble.Ensemble) bool { _, ok := e.(ensemble.Pauser); return ok }, idleTimeout - idleTick, 2 * idleTick, pauseLeader},
		idleFault{n, "idle-log-stall", "as idle-hold; the leader's log also stalls when the sessions' time is over", func(e ensemble.Ensemble) bool {
			_, ok := e.(ensemble.LogStaller)
			return ok && partitions(e)
		}, idleTimeout - idleTick/2, 2 * idleTick, stallLeadersLog},
	}
}

func (f idleFault) Name() string { return f.name }

func (f idleFault) Does() string { return f.does }

func (f idleFault) Able(env *harness.Env) error {
	if !f.able(env.Ensemble) {
		return fmt.Errorf("the ensemble (%s) does not support this fault", env.Ensemble.Kind())
	}
	return nil
}

func (f idleFault) Draw(r *rand.Rand, _ *harness.Env) harness.Step {
	length := f.least + time.Duration(r.Int64N(int64(f.spread)))
	return harness.Step{Target: "follower", For: length.Round(time.Millisecond)}
}

func (f idleFault) Inject(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	n := f.naps.of(env)
	if !n.await(ctx, true) {
		return harness.Injected{}, ctx.Err()
	}
	leader, err := env.Ensemble.Leader(ctx)
	at := int(n.server.Load())
	if err != nil || leader == at {
		return harness.Injected{}, nil // the fault needs a leader, which must not be the server of the idle clients
	}
	begun := func() { n.note(func() { n.broken++ }) }
	evidence, err := f.inject(ctx, env, idleHit{leader, at, step.For, begun})
	n.await(ctx, false) // so the fault's record covers the clients' requests: see askedWhileBroken
	return harness.Injected{Target: fmt.Sprintf("n%d>n%d", leader, at), Evidence: evidence}, err
}

// cutFor cuts edges, calls the given function, and restores the edges. The cut lasts as long as the
// call.
func cutFor(ctx context.Context, env *harness.Env, links []ensemble.Edge, during func() error) (evidence string, err error) {
	w, err := fault.Cut(ctx, env, links)
	if err != nil {
		return "", err
	}
	err = during()
	evidence, healed := w.Heal(context.WithoutCancel(ctx))
	return evidence, errors.Join(err, healed)
}

// holdFromLeader cuts the edge from the leader to the follower. The edge from the follower to the
// leader stays open.
func holdFromLeader(ctx context.Context, env *harness.Env, f idleHit) (string, error) {
	return cutFor(ctx, env, []ensemble.Edge{{From: f.leader, To: f.at}}, func() error {
		f.begun()
		times.Sleep(ctx, f.length)
		return nil
	})
}

// partitionFollower cuts both directions between the follower and every other server.
func partitionFollower(ctx context.Context, env *harness.Env, f idleHit) (string, error) {
	var links []ensemble.Edge
	for other := range env.Servers() {
		if other != f.at {
			links = append(links, ensemble.Edge{From: other, To: f.at}, ensemble.Edge{From: f.at, To: other})
		}
	}
	return cutFor(ctx, env, links, func() error {
		f.begun()
		times.Sleep(ctx, f.length)
		return nil
	})
}

// pauseLeader pauses the leader's process. The leader resumes before its followers elect another
// leader. When it resumes, it has sessions to expire and requests to answer.
func pauseLeader(ctx context.Context, env *harness.Env, f idleHit) (string, error) {
	e := env.Ensemble.(ensemble.Pauser)
	if err := e.Pause(ctx, f.leader); err != nil {
		return "", err
	}
	f.begun()
	times.Sleep(ctx, f.length)
	return fmt.Sprintf("n%d paused for %v", f.leader, f.length), e.Resume(context.WithoutCancel(ctx), f.leader)
}

// stallLeadersLog cuts the edge from the leader to the follower for f.length. It also stalls the
// leader's log. The stall begins shortly before the timeouts of the idle clients' sessions are
// over, and ends a tick after the edge is restored. During the stall, the leader finds that these
// timeouts are over, but cannot close the sessions.
func stallLeadersLog(ctx context.Context, env *harness.Env, f idleHit) (evidence string, err error) {
	e := env.Ensemble.(ensemble.LogStaller)
	early := idleTimeout - idleTick/2 - idleTick/8
	evidence, err = cutFor(ctx, env, []ensemble.Edge{{From: f.leader, To: f.at}}, func() error {
		f.begun()
		times.Sleep(ctx, early)
		err := e.StallLog(ctx, f.leader)
		times.Sleep(ctx, f.length-early)
		return err
	})
	times.Sleep(ctx, idleTick)
	return evidence, errors.Join(err, e.FlowLog(context.WithoutCancel(ctx), f.leader))
}

// askedWhileBroken requires n requests of idle clients during a fault. If there is no such request,
// no fault affected a client that had been idle.
func askedWhileBroken(n int) checker.Checker {
	return checker.AtLeast("run/requests-of-idle", n, "requests of idle clients during a fault", func(h *history.History) (found int) {
		broken := 0
		for i := range h.Events {
			e := &h.Events[i]
			switch {
			case e.Kind == history.Fault && e.Op == history.FaultStart:
				broken++
			case e.Kind == history.Fault && e.Op == history.FaultStop:
				broken--
			case e.Kind == history.Invoke && broken > 0 && e.Client >= 0 && e.Client%2 == 0:
				found++
			}
		}
		return found
	})
}
