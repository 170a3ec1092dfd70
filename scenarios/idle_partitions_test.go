package scenarios

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

var (
	cuts      = flag.Int("cuts", 0, "cuts of TestCutsSharedByIdleClients; 0 skips it")
	ensembles = flag.Int("ensembles", 2, "ensembles that TestCutsSharedByIdleClients breaks at once")
	pauses    = flag.Bool("pauses", false, "TestCutsSharedByIdleClients pauses the leader instead of cutting it off")
	trustIdle = flag.Bool("trust-idle", false, "TestCutsSharedByIdleClients uses the old rule of the lease, under which two clients must share a lock")
)

// idlePaths is the number of locks in contention during each cut. idleCrowd is the number of
// further sessions that a paused leader has to close when it resumes. With so many sessions to
// close, the leader answers requests before it has closed all of them.
const (
	idlePaths = 16
	idleCrowd = 240
)

// A lock never has two holders, even if a client was idle on a follower that is cut off from the
// leader. In this test a follower is cut off for 4 to 8 s. Its idle clients request locks at about
// the time at which the leader expires their sessions. An answer can reach these clients through
// the follower only when the follower receives the leader's packets again. Right after the idle
// clients, rivals on other servers request the same locks. Unlike the scenario idle-lock, the test
// reads the servers' clock to choose these times.
//
// With the flag -pauses, the leader is paused for 6 to 8 s instead. With the flag -trust-idle, the
// sessions use an old rule of the lease, which was wrong. At least one lock must then have two
// holders, which shows that the test can detect the mistake.
//
//	go test ./scenarios -run CutsSharedByIdle -cuts 200 -ensembles 3 -timeout 0 -v
//
// Covers L1, S2.
func TestCutsSharedByIdleClients(t *testing.T) {
	if *cuts == 0 {
		t.Skip("see the flag -cuts")
	}
	if *kind == "embedded" {
		t.Skip("the model has its own clock: see TestIdleSessionInAPartitionSharesNoLock of package lock")
	}
	start := options(t, 0).Ensemble
	var total idleCount
	var work errgroup.Group
	for i := range *ensembles {
		work.Go(func() error {
			e, err := start(t.Context(), ensemble.Config{Nodes: 3, TickTime: idleTick, SyncLimit: 5})
			if err != nil {
				return err
			}
			defer e.Close(context.WithoutCancel(t.Context()))
			a := idleAttack{t: t, ensemble: e, name: fmt.Sprintf("%d-%d", *seed, i), random: rand.New(rand.NewPCG(*seed, uint64(i))), total: &total}
			for n := i; n < *cuts; n += *ensembles {
				if err := a.cut(t.Context(), n); err != nil {
					return fmt.Errorf("cut %d: %w", n, err)
				}
			}
			return nil
		})
	}
	err := work.Wait()
	t.Log(&total)
	if err != nil {
		t.Error(err)
	}
	if shared := total.shared > 0; shared != *trustIdle {
		t.Errorf("locks were shared: got %t, want %t", shared, *trustIdle)
	}
}

// An idleCount counts the results of idleAttacks.
type idleCount struct {
	mu                   sync.Mutex
	breaks               [3]int // number of breaks of each kind, indexed by idleBreak
	locks, grants, ended int    // ended counts the grants that ended before their release
	shared               int
	longest              time.Duration
}

func (c *idleCount) add(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *idleCount) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d cuts one way, %d both ways, %d pauses, %d locks, %d grants, %d of them lost, %d locks held by two clients (for at most %v)",
		c.breaks[oneWay], c.breaks[bothWays], c.breaks[paused], c.locks, c.grants, c.ended, c.shared, c.longest)
}

// An idleBreak is a way to break the connection between the leader and the follower.
type idleBreak int

const (
	oneWay   idleBreak = iota // nothing passes from the leader to the follower
	bothWays                  // nothing passes between the follower and any other server
	paused                    // the leader's process is paused
)

func (b idleBreak) String() string { return [...]string{"cut one way", "cut both ways", "paused"}[b] }

// An idleAttack repeatedly breaks the connection between the leader and a follower of one ensemble.
type idleAttack struct {
	t        *testing.T
	ensemble ensemble.Ensemble
	name     string
	random   *rand.Rand
	total    *idleCount
}

func (a *idleAttack) between(least, most time.Duration) time.Duration {
	return least + time.Duration(a.random.Int64N(int64(max(most-least, 1))))
}

// The method `plan` chooses an attack at random. The result `phase` is the time from the start of a
// tick to the break. The result `expiry` is the time from the break until the leader expires the
// idle sessions. The result `mend` is the time from the break until the connection is restored.
//
// The leader sends a PING every half tick. The timeout of an idle session counts from the last PING
// before the break. The leader expires the session at the end of the tick in which the timeout is
// over.
func (a *idleAttack) plan() (how idleBreak, phase, expiry, mend time.Duration) {
	phase = a.between(idleTick*11/20, idleTick*39/40) // the last PING was sent in this tick
	expiry = idleTick - phase + idleTimeout
	how = idleBreak(a.random.IntN(2))
	if *pauses {
		how = paused
	}
	switch {
	case how == paused: // the leader resumes before the election, which begins after five ticks
		mend = a.between(expiry, expiry+idleTick/2)
	case how == bothWays && a.random.IntN(4) > 0:
		// The clients send their requests after the edges are restored, while the leader's packets
		// still wait for a retransmission by TCP.
		mend = a.between(idleTimeout*2/3, expiry-100*time.Millisecond)
	default:
		mend = a.between(expiry-300*time.Millisecond, min(expiry+time.Second, 4*idleTick))
	}
	return how, phase, expiry, mend
}

// The method `begin` breaks the connection, and returns a function that restores the connection.
func (a *idleAttack) begin(ctx context.Context, how idleBreak, leader, at int) (mend func() error, err error) {
	if how == paused {
		p := a.ensemble.(ensemble.Pauser)
		return func() error { return p.Resume(ctx, leader) }, p.Pause(ctx, leader)
	}
	edges := []ensemble.Edge{{From: leader, To: at}}
	if how == bothWays {
		other := 3 - leader - at
		edges = append(edges, ensemble.Edge{From: at, To: leader}, ensemble.Edge{From: other, To: at}, ensemble.Edge{From: at, To: other})
	}
	p := a.ensemble.(ensemble.Partitioner)
	return func() error { return p.Mend(ctx) }, p.Cut(ctx, edges...)
}

func (a *idleAttack) cut(ctx context.Context, n int) (err error) {
	e := a.ensemble
	if err := e.Ready(ctx); err != nil {
		return err
	}
	leader, err := e.Leader(ctx)
	if err != nil {
		return err
	}
	at := (leader + 1 + a.random.IntN(2)) % 3
	how, phase, expiry, mend := a.plan()

	// 0: no idle session sends syncs, 1: half of them do, 2: all do. All three are tried, because a
	// sync that waits for the leader can delay other requests.
	silence := a.random.IntN(3)
	var sessions idleSessions
	defer sessions.close()
	var pairs [idlePaths]*idlePair
	var opening errgroup.Group
	for i := range pairs {
		silent := silence == 0 || silence == 1 && i%2 == 1
		opening.Go(func() (err error) {
			pairs[i], err = a.pair(ctx, &sessions, fmt.Sprintf("/idle-%s-%d-%d", a.name, n, i), i, leader, at, silent)
			return err
		})
	}
	if how == paused {
		opening.Go(func() error { return a.crowd(ctx, &sessions, at) })
	}
	if err = opening.Wait(); err != nil {
		return err
	}
	times.Sleep(ctx, idleTimeout*5/4)
	times.Sleep(ctx, (phase-monotonic()%idleTick+idleTick)%idleTick)
	begun := time.Now()
	heal, err := a.begin(ctx, how, leader, at)
	if err != nil {
		return err
	}
	// The follower forwards the idle clients' requests to the leader over one TCP connection. If
	// the follower gets no acknowledgement for about 200 ms, TCP sends the first request again, and
	// holds back all requests that come later. So all idle clients send their requests within the
	// same 200 ms, and the requests leave the follower before TCP holds back any of them.
	const burst = 200 * time.Millisecond
	first := a.between(max(min(mend, expiry)-burst/2, expiry-3*burst), expiry-burst/2)
	if how == paused {
		first = mend - 2*burst
	}
	var work sync.WaitGroup
	for _, p := range pairs {
		ask := first + a.between(0, burst)
		second := ask + a.between(0, burst)
		p.proxy.Pin("")
		if p.deaf = how == paused; p.deaf {
			second = mend // the leader expires the rival's session too, so `take` opens another one
		}
		work.Go(func() { p.take(ctx, 0, begun.Add(ask)) })
		work.Go(func() { p.take(ctx, 1, begun.Add(second)) })
	}
	times.Sleep(ctx, time.Until(begun.Add(mend)))
	if err := heal(); err != nil {
		return err
	}
	mended := time.Since(begun)
	work.Wait()
	a.total.add(func() { a.total.breaks[how]++ })
	shared := 0
	for _, p := range pairs {
		shared += p.judge(a.t, a.total)
	}
	a.t.Logf("%d: n%d from n%d %v for %v, expiry after %v: %d of %d shared; %v", n, at, leader, how,
		mended.Round(time.Millisecond), expiry.Round(time.Millisecond), shared, len(pairs), a.total)
	return ctx.Err()
}

// idleSessions are the sessions of one attack.
type idleSessions struct {
	mu  sync.Mutex
	all []*session.Session
}

func (all *idleSessions) open(ctx context.Context, o session.Options) (*session.Session, error) {
	s, err := session.Open(ctx, o)
	if err == nil {
		all.mu.Lock()
		defer all.mu.Unlock()
		all.all = append(all.all, s)
	}
	return s, err
}

func (all *idleSessions) close() {
	var closing sync.WaitGroup
	for _, s := range all.all {
		closing.Go(func() { s.Close() })
	}
	closing.Wait()
}

// The method `crowd` opens idleCrowd idle sessions on the follower.
func (a *idleAttack) crowd(ctx context.Context, all *idleSessions, at int) error {
	var opening errgroup.Group
	opening.SetLimit(16)
	for range idleCrowd {
		opening.Go(func() error {
			_, err := all.open(ctx, session.Options{Timeout: idleTimeout, Servers: a.ensemble.Servers()[at : at+1],
				Dial: a.ensemble.DialContext, NoIdleLease: true})
			return err
		})
	}
	return opening.Wait()
}

// An idlePair is an idle session on the follower and its rival elsewhere. Both acquire the same
// lock.
type idlePair struct {
	path     string
	proxy    *netfault.Proxy // of the idle session
	sessions [2]*session.Session
	again    func() (*session.Session, error) // opens another session of the rival
	deaf     bool                             // the idle session is cut off from its server as soon as it holds the lock

	mu     sync.Mutex
	held   [2]*idleHold
	shared bool
}

type idleHold struct {
	from, to time.Time
	lost     bool
	ctx      context.Context // of the grant; nil as soon as the release begins
}

// The method `pair` opens the sessions of the pair with index i. Half of the idle sessions do not
// set TickTime, and every fourth may move to another server. If `silent` is true, the idle session
// sends no syncs while it is idle.
func (a *idleAttack) pair(ctx context.Context, all *idleSessions, path string, i, leader, at int, silent bool) (*idlePair, error) {
	servers := a.ensemble.Servers()
	p := &idlePair{path: path, proxy: netfault.New(a.ensemble.DialContext)}
	o := session.Options{Timeout: idleTimeout, Servers: servers[at : at+1], Dial: p.proxy.DialContext,
		NoIdleLease: silent, UnsafeTrustIdle: *trustIdle}
	if i%4 < 2 {
		o.TickTime = idleTick
	}
	if i%4 == 3 {
		p.proxy.Pin(servers[at])
		o.Servers = servers
	}
	rival := session.Options{Timeout: idleTimeout, Servers: servers[leader : leader+1], Dial: a.ensemble.DialContext, UnsafeTrustIdle: *trustIdle}
	if i%3 == 0 {
		other := 3 - leader - at
		rival.Servers = servers[other : other+1]
	}
	for j, o := range []session.Options{o, rival} {
		s, err := all.open(ctx, o)
		if err != nil {
			return nil, err
		}
		p.sessions[j] = s
	}
	p.again = func() (*session.Session, error) { return all.open(ctx, rival) }
	_, err := p.sessions[1].Create(ctx, path, nil, session.Persistent)
	return p, err
}

// The method `take` acquires the lock at the given time and holds it for some seconds.
func (p *idlePair) take(ctx context.Context, who int, at time.Time) {
	times.Sleep(ctx, time.Until(at))
	ctx, cancel := context.WithTimeout(ctx, 2*idleTimeout)
	defer cancel()
	s := p.sessions[who]
	if who == 1 && p.deaf {
		var err error
		if s, err = p.again(); err != nil {
			return
		}
	}
	g, err := lock.NewMutex(s, p.path, lock.Options{}).Lock(ctx)
	if err != nil {
		return
	}
	if who == 0 && p.deaf {
		p.proxy.Stall()
	}
	h := &idleHold{from: time.Now(), ctx: g.Context()}
	p.note(func() {
		// It is possible that the other client of the pair has also been granted the lock, and has
		// not released it. In this case the context of the other client's grant must have ended
		// before the grant g.
		if other := p.held[1-who]; other != nil && other.ctx != nil && other.ctx.Err() == nil {
			p.shared = true
		}
		p.held[who] = h
	})
	select {
	case <-g.Context().Done():
	case <-time.After(2 * idleTick):
	}
	p.note(func() { h.to, h.lost, h.ctx = time.Now(), g.Context().Err() != nil, nil })
	p.proxy.Resume()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), idleTimeout)
	defer cancel()
	_ = g.Unlock(release)
}

func (p *idlePair) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// The method `judge` adds the pair's result to total.
func (p *idlePair) judge(t *testing.T, total *idleCount) (shared int) {
	total.add(func() {
		total.locks++
		for _, h := range p.held {
			if h != nil {
				total.grants++
			}
			if h != nil && h.lost {
				total.ended++
			}
		}
		if p.shared {
			a, b := p.held[0], p.held[1]
			from, to := a.from, a.to
			if b.from.After(from) {
				from = b.from
			}
			if b.to.Before(to) {
				to = b.to
			}
			shared = 1
			total.shared++
			total.longest = max(total.longest, to.Sub(from))
			t.Logf("%s: both held, for %v", p.path, to.Sub(from))
		}
	})
	return shared
}

// The function `monotonic` returns the time since the machine booted. The servers on this machine
// use the same clock: they expire sessions when this time is a multiple of the tick.
func monotonic() time.Duration {
	text, _ := os.ReadFile("/proc/uptime")
	var seconds float64
	_, _ = fmt.Sscan(string(text), &seconds)
	return time.Duration(seconds * float64(time.Second))
}
