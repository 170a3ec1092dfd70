package session_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The tests of this file attack the lease. Programs contend for one lock while servers and their
// connections fail. Between two grants a program is idle, sometimes for longer than its session
// timeout. Whenever a program is granted the lock, the contexts of all earlier grants must have
// ended.

// A referee records all grants of the lock.
type referee struct {
	mu     sync.Mutex
	grants []*lock.Grant
	lapses int
	foul   string
}

func (r *referee) granted(g *lock.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.grants {
		if other.Context().Err() == nil {
			r.foul = fmt.Sprintf("%s granted while %s is held", g.Path(), other.Path())
		}
	}
	r.grants = append(r.grants, g)
	context.AfterFunc(g.Context(), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch cause := context.Cause(g.Context()); {
		case errors.Is(cause, session.ErrLost):
			r.foul = fmt.Sprintf("%s held until a server said: %v", g.Path(), cause)
		case errors.Is(cause, session.ErrLeaseLapsed):
			r.lapses++
		}
	})
}

// contend acquires the lock once and holds it for the given time, or until it is lost.
func contend(ctx context.Context, s *session.Session, hold time.Duration, r *referee) {
	g, err := lock.NewMutex(s, "/lock", lock.Options{}).Lock(ctx)
	if err != nil {
		return
	}
	r.granted(g)
	select {
	case <-g.Context().Done():
	case <-time.After(hold):
	}
	g.Unlock(ctx)
}

// The function `pause` waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// The function `between` returns a random duration from the range.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

// An attack is one way to break servers while clients contend.
type attack struct {
	name    string
	servers int
	tick    time.Duration // 0 means 2 s
	timeout time.Duration
	known   bool // the clients know the tick
	idle    bool // there are more clients, which hold for a short time and then pause for long
	first   func(e *zktest.Ensemble) []int
	do      func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand)
}

func anywhere(e *zktest.Ensemble) []int { return nil }

func attacks() []attack {
	follower := func(e *zktest.Ensemble) int { return (e.Leader() + 1) % len(e.Servers()) }
	follows := func(e *zktest.Ensemble) []int { return []int{follower(e)} }
	leads := func(e *zktest.Ensemble) []int { return []int{e.Leader()} }
	return []attack{
		{name: "isolated follower", timeout: 4 * time.Second, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			pause(ctx, between(r, 0, 12*time.Second))
			e.Isolate(follower(e))
			pause(ctx, between(r, 0, 30*time.Second))
			e.Mend()
		}},
		{name: "isolated leader", timeout: 4 * time.Second, first: leads, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			pause(ctx, between(r, 0, 12*time.Second))
			e.Isolate(e.Leader())
			pause(ctx, between(r, 0, 30*time.Second))
			e.Mend()
		}},
		{name: "leader and a follower isolated", servers: 5, timeout: 4 * time.Second, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			pause(ctx, between(r, 0, 12*time.Second))
			a, b := e.Leader(), follower(e)
			for i := range e.Servers() {
				for _, j := range []int{a, b} {
					if i != a && i != b {
						e.Cut(zktest.Link{From: i, To: j}, zktest.Link{From: j, To: i})
					}
				}
			}
			pause(ctx, between(r, 0, 30*time.Second))
			e.Mend()
		}},
		{name: "leader paused and resumed", timeout: 6 * time.Second, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 10*time.Second))
				leader := max(e.Leader(), 0)
				e.Pause(leader)
				pause(ctx, between(r, 2*time.Second, 12*time.Second))
				e.Resume(leader)
			}
		}},
		{name: "change of leader", timeout: 5 * time.Second, first: anywhere, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 100*time.Millisecond, 6*time.Second))
				e.ElectLeader(r.IntN(len(e.Servers())))
			}
		}},
		{name: "two ticks", timeout: 4 * time.Second, known: true, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 12*time.Second))
				e.Isolate(r.IntN(len(e.Servers())))
				pause(ctx, between(r, 0, 9*time.Second))
				e.Mend()
			}
		}},
		{name: "known tick", tick: 500 * time.Millisecond, timeout: 4 * time.Second, known: true, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 12*time.Second))
				e.Isolate(r.IntN(len(e.Servers())))
				pause(ctx, between(r, 0, 9*time.Second))
				e.Mend()
			}
		}},
		{name: "hopping between servers", timeout: 5 * time.Second, first: anywhere, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 3*time.Second))
				i := r.IntN(len(e.Servers()))
				e.Kill(i)
				pause(ctx, between(r, 0, 3*time.Second))
				e.Start(i)
			}
		}},
		// While the follower receives nothing from the leader, the idle sessions at this follower
		// expire, or nearly expire.
		{name: "follower that does not hear the leader", timeout: 6 * time.Second, known: true, idle: true, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 10*time.Second))
				leader := max(e.Leader(), 0)
				e.Cut(zktest.Link{From: leader, To: (leader + 1) % len(e.Servers())})
				pause(ctx, between(r, 4*time.Second, 9*time.Second))
				e.Mend()
			}
		}},
		{name: "slow expirer", timeout: 6 * time.Second, idle: true, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				pause(ctx, between(r, 0, 10*time.Second))
				leader := max(e.Leader(), 0)
				e.SetExpirerPace(leader, between(r, 0, 4*time.Second))
				e.Isolate((leader + 1) % len(e.Servers()))
				pause(ctx, between(r, 4*time.Second, 9*time.Second))
				e.Mend()
				pause(ctx, between(r, 0, 4*time.Second))
				e.SetExpirerPace(leader, 0)
			}
		}},
		// A follower handles PINGs and COMMITs in one thread, so a delay of one kind of packet
		// delays the other kind too.
		{name: "slow pings", timeout: 5 * time.Second, first: follows, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				i := r.IntN(len(e.Servers()))
				l := zktest.Link{From: max(e.Leader(), 0), To: i}
				if r.IntN(2) == 0 {
					l.From, l.To = l.To, l.From
				}
				e.DelayLink(l, between(r, 0, 4*time.Second))
				pause(ctx, between(r, 0, 12*time.Second))
				e.DelayLink(l, 0)
			}
		}},
		{name: "everything", servers: 5, tick: time.Second, timeout: 3 * time.Second, first: anywhere, do: func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand) {
			for ctx.Err() == nil {
				i, j, n := r.IntN(5), r.IntN(5), r.IntN(7)
				switch n {
				case 0:
					e.Isolate(i)
				case 1:
					e.Cut(zktest.Link{From: i, To: j})
				case 2:
					e.Pause(i)
				case 3:
					e.Kill(i)
				case 4:
					e.ElectLeader(i)
				case 5:
					e.Lag(i, between(r, 0, 2*time.Second))
				case 6:
					e.DelayLink(zktest.Link{From: i, To: j}, between(r, 0, time.Second))
				}
				pause(ctx, between(r, 0, 4*time.Second))
				if r.IntN(3) > 0 {
					e.Mend()
					e.Resume(i)
					e.Start(i)
					e.Lag(i, 0)
					e.DelayLink(zktest.Link{From: i, To: j}, 0)
				}
			}
		}},
	}
}

// In each attack, whenever a program is granted the lock, the contexts of all earlier grants have
// ended.
//
// Covers S2, L1.
func TestHoldEndsBeforeAnybodyElseIsGranted(t *testing.T) {
	for _, a := range attacks() {
		t.Run(strings.ReplaceAll(a.name, " ", "-"), func(t *testing.T) {
			grants, lapses := 0, 0
			for seed := range *session.Seeds {
				r := underAttack(t, a, session.Options{}, uint64(seed))
				if r.foul != "" {
					t.Fatalf("seed %d: %s", seed, r.foul)
				}
				grants, lapses = grants+len(r.grants), lapses+r.lapses
			}
			t.Logf("%d grants, %d of them lapsed", grants, lapses)
			if grants < 3**session.Seeds {
				t.Errorf("got %d grants in %d runs, want at least %d", grants, *session.Seeds, 3**session.Seeds)
			}
		})
	}
}

// UnsafeTrustIdle brings back a former bug: the first write after idleness extended the lease,
// because the session assumed that the leader had received the session's latest activity. The
// attacks find this bug. Earlier tests did not find it, because their contenders were never idle.
func TestAttacksFindTheRuleThatTrustsIdleSessions(t *testing.T) {
	const enough = 20
	for seed := range uint64(enough) {
		for _, a := range attacks() {
			if !a.idle {
				continue
			}
			if r := underAttack(t, a, session.Options{UnsafeTrustIdle: true}, seed); r.foul != "" {
				t.Logf("%s, seed %d: %s", a.name, seed, r.foul)
				return
			}
		}
	}
	t.Errorf("got no two holders in %d runs of each attack, want two with UnsafeTrustIdle", enough)
}

// underAttack runs the attack for three minutes, while programs with the given session options
// contend for a lock.
func underAttack(t *testing.T, a attack, base session.Options, seed uint64) *referee {
	referee := &referee{}
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{Servers: a.servers, TickTime: a.tick, Seed: seed})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var work sync.WaitGroup
		clients, hold, rest := 3, 40*time.Second, time.Duration(0)
		if a.idle {
			clients, hold, rest = 9, 2*time.Second, a.timeout
		}
		for i := range clients {
			opts := base
			opts.Servers, opts.Dial, opts.Timeout = e.Servers(), e.DialContext, a.timeout
			if servers := a.first(e); i%3 == 0 && len(servers) > 0 {
				opts.Servers = []string{e.Servers()[servers[0]]}
			}
			if a.known {
				opts.TickTime = cmp.Or(a.tick, 2*time.Second)
			}
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			work.Go(func() {
				session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
					for ctx.Err() == nil {
						contend(ctx, s, howLong(r, hold), referee)
						pause(ctx, rest+howLong(r, 2*a.timeout))
					}
					return context.Cause(ctx)
				})
			})
		}
		a.do(ctx, e, rand.New(rand.NewPCG(seed, 99)))
		work.Wait()
	})
	return referee
}

// howLong returns a random time up to the given maximum. In half of the calls, the time is at most
// an eighth of the maximum.
func howLong(r *rand.Rand, most time.Duration) time.Duration {
	if r.IntN(2) == 0 {
		most /= 8
	}
	return time.Duration(r.Int64N(int64(most)))
}
