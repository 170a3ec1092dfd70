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
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

var (
	cuts      = flag.Int("cuts", 0, "cuts of TestCutsSharedByIdleClients; 0 skips it")
	ensembles = flag.Int("ensembles", 2, "ensembles that TestCutsSharedByIdleClients breaks at once")
	trustIdle = flag.Bool("trust-idle", false, "TestCutsSharedByIdleClients uses the old rule of the lease, which must share locks")
)

// idlePaths is how many locks are contended for during each cut.
const idlePaths = 16

// The attack knows the server's clock, which the scenario idle-lock does not. A follower is cut off for 4 to 8 s.
// Clients of it that have been idle ask for locks shortly before the leader expires their sessions, and rivals
// on other servers ask right after them.
//
//	go test ./scenarios -run CutsSharedByIdle -cuts 200 -ensembles 3 -timeout 0 -v
//
// Covers L1, S2.
func TestCutsSharedByIdleClients(t *testing.T) {
	if *cuts == 0 {
		t.Skip("see the flag -cuts")
	}
	if *kind == "embedded" {
		t.Skip("the model's clock is its own: see TestIdleSessionInAPartitionSharesNoLock of package lock")
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

// An idleCount counts what idleAttacks have seen.
type idleCount struct {
	mu                   sync.Mutex
	oneWay, bothWays     int
	locks, grants, ended int // ended are the grants that ended before they were released
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
	return fmt.Sprintf("%d cuts (%d one way, %d both ways), %d locks, %d grants, %d of them lost, %d locks held by two (for %v at most)",
		c.oneWay+c.bothWays, c.oneWay, c.bothWays, c.locks, c.grants, c.ended, c.shared, c.longest)
}

// An idleAttack cuts off followers of one ensemble.
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

// plan draws an attack. The leader expires sessions when its clock is a multiple of the tick: at the first one
// that is later than the last PING that it sent, plus T. It sends one every half a tick. All times are after the
// cut, which begins at phase into a tick.
func (a *idleAttack) plan() (phase, expiry, mend time.Duration, both bool) {
	phase = a.between(idleTick*11/20, idleTick*39/40) // the last PING was sent in this tick
	expiry = idleTick - phase + idleTimeout
	both = a.random.IntN(2) == 0
	switch {
	case both && a.random.IntN(4) > 0: // the clients ask after the mend, and the leader's packets wait for TCP
		mend = a.between(idleTimeout*2/3, expiry-100*time.Millisecond)
	default:
		mend = a.between(expiry-300*time.Millisecond, min(expiry+time.Second, 4*idleTick))
	}
	return phase, expiry, mend, both
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
	phase, expiry, mend, both := a.plan()
	edges := []ensemble.Edge{{From: leader, To: at}}
	if both {
		other := 3 - leader - at
		edges = []ensemble.Edge{{From: leader, To: at}, {From: at, To: leader}, {From: other, To: at}, {From: at, To: other}}
	}

	var pairs [idlePaths]*idlePair
	silence := a.random.IntN(3) // a sync that waits for the leader can hold up what others send
	var opening errgroup.Group
	for i := range pairs {
		silent := silence == 0 || silence == 1 && i%2 == 1
		opening.Go(func() (err error) {
			pairs[i], err = a.pair(ctx, fmt.Sprintf("/idle-%s-%d-%d", a.name, n, i), i, leader, at, silent)
			return err
		})
	}
	err = opening.Wait()
	defer func() {
		for _, p := range pairs {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	wait(ctx, idleTimeout*5/4)
	wait(ctx, (phase-monotonic()%idleTick+idleTick)%idleTick)
	begun := time.Now()
	p := e.(ensemble.Partitioner)
	if err := p.Cut(ctx, edges...); err != nil {
		return err
	}
	var work sync.WaitGroup
	// All ask before TCP first retransmits: after that the follower's requests wait as well.
	const burst = 200 * time.Millisecond
	first := a.between(max(min(mend, expiry)-burst/2, expiry-3*burst), expiry-burst/2)
	for _, p := range pairs {
		ask := first + a.between(0, burst)
		second := ask + a.between(0, burst)
		p.proxy.Pin("")
		work.Go(func() { p.take(ctx, 0, begun.Add(ask)) })
		work.Go(func() { p.take(ctx, 1, begun.Add(second)) })
	}
	wait(ctx, time.Until(begun.Add(mend)))
	if err := p.Mend(ctx); err != nil {
		return err
	}
	mended := time.Since(begun)
	work.Wait()
	a.total.add(func() {
		if both {
			a.total.bothWays++
		} else {
			a.total.oneWay++
		}
	})
	shared := 0
	for _, p := range pairs {
		shared += p.judge(a.t, a.total)
	}
	a.t.Logf("cut %d: n%d from n%d, both ways %t, %v, expiry %v: %d of %d shared; %v", n, at, leader, both,
		mended.Round(time.Millisecond), expiry.Round(time.Millisecond), shared, len(pairs), a.total)
	return ctx.Err()
}

// An idlePair is an idle session on the follower and its rival elsewhere, which ask for one lock.
type idlePair struct {
	path     string
	proxy    *netfault.Proxy // of the idle session
	sessions [2]*session.Session

	mu     sync.Mutex
	held   [2]*idleHold
	shared bool
}

type idleHold struct {
	from, to time.Time
	lost     bool
	ctx      context.Context // nil after the release
}

// pair opens the sessions. Every second idle one does not know the tick, and every fourth may move to another
// server. A silent one sends no syncs while it is idle.
func (a *idleAttack) pair(ctx context.Context, path string, i, leader, at int, silent bool) (*idlePair, error) {
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
		s, err := session.Open(ctx, o)
		if err != nil {
			return p, err
		}
		p.sessions[j] = s
	}
	_, err := p.sessions[1].Create(ctx, path, nil, session.Persistent)
	return p, err
}

func (p *idlePair) close() {
	if p == nil {
		return
	}
	for _, s := range p.sessions {
		if s != nil {
			s.Close()
		}
	}
}

// take asks for the lock at a time, and holds it for some seconds.
func (p *idlePair) take(ctx context.Context, who int, at time.Time) {
	wait(ctx, time.Until(at))
	ctx, cancel := context.WithTimeout(ctx, 2*idleTimeout)
	defer cancel()
	g, err := lock.NewMutex(p.sessions[who], p.path, lock.Options{}).Lock(ctx)
	if err != nil {
		return
	}
	h := &idleHold{from: time.Now(), ctx: g.Context()}
	p.note(func() {
		// The other one's context is looked at after this one was granted: it has to have ended by then.
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
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), idleTimeout)
	defer cancel()
	_ = g.Unlock(release)
}

func (p *idlePair) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// judge adds what the pair has seen to total.
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

// monotonic is the time since the machine's boot, which servers on this machine count sessions by.
func monotonic() time.Duration {
	text, _ := os.ReadFile("/proc/uptime")
	var seconds float64
	_, _ = fmt.Sscan(string(text), &seconds)
	return time.Duration(seconds * float64(time.Second))
}
