package session

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/zktest"
)

var seeds = flag.Int("seeds", 2, "runs of each attack on the lease")

// The attacks on the lease: contenders for one lock while servers and links
// between them fail. However they do, whoever is granted the lock finds that
// the contexts of all who had it before have ended.

// A referee knows all who were granted the lock.
type referee struct {
	mu     sync.Mutex
	holds  []*Hold
	grants int
	lapses int
	foul   string
}

func (r *referee) granted(h *Hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.holds {
		if other.Context().Err() == nil {
			r.foul = fmt.Sprintf("%s granted while %s holds for %v yet",
				h.Node().Name(), other.Node().Name(), time.Until(other.Deadline()))
		}
	}
	r.grants++
	r.holds = append(r.holds, h)
	context.AfterFunc(h.Context(), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch cause := context.Cause(h.Context()); {
		case errors.Is(cause, ErrLost):
			r.foul = fmt.Sprintf("%s held until a server said: %v", h.Node().Name(), cause)
		case errors.Is(cause, ErrLeaseLapsed):
			r.lapses++
		}
	})
}

// contend takes the lock once and holds it for the given time, or until it is
// lost.
func contend(ctx context.Context, s *Session, dir string, hold time.Duration, r *referee) error {
	node, err := s.CreateProtected(ctx, dir, "lock", nil, EphemeralSequential)
	if err != nil {
		return err
	}
	h := s.Hold(node)
	defer s.Remove(ctx, node)
	defer h.End(errReleased)
	for first := ""; first != node.Name(); {
		listing, w, err := s.ChildrenW(ctx, dir)
		if err != nil {
			return err
		}
		first = slices.MinFunc(listing.Names, func(a, b string) int { return strings.Compare(a[len(a)-10:], b[len(b)-10:]) })
		if first != node.Name() {
			select {
			case <-w.C:
			case <-h.Context().Done():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.Stop()
		if err := h.Context().Err(); err != nil {
			return err
		}
	}
	if err := h.Grant(ctx); err != nil {
		return err
	}
	r.granted(h)
	select {
	case <-h.Context().Done():
	case <-time.After(hold):
	}
	return nil
}

// attack is one way to break servers while clients contend.
type attack struct {
	name    string
	servers int
	tick    time.Duration // 0 is 2 s
	timeout time.Duration
	known   bool // the clients are told the tick
	first   func(e *zktest.Ensemble) []int
	do      func(ctx context.Context, e *zktest.Ensemble, r *rand.Rand)
}

func anywhere(e *zktest.Ensemble) []int { return nil }

func attacks() []attack {
	pause := func(ctx context.Context, d time.Duration) { sleep(ctx, d) }
	between := func(r *rand.Rand, from, to time.Duration) time.Duration {
		return from + time.Duration(r.Int64N(int64(to-from)))
	}
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
		// A follower handles PINGs and COMMITs in one thread: what delays the
		// ones delays the others.
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

// Covers S2.
func TestHoldEndsBeforeAnybodyElseIsGranted(t *testing.T) {
	for _, a := range attacks() {
		t.Run(strings.ReplaceAll(a.name, " ", "-"), func(t *testing.T) {
			grants, lapses := 0, 0
			for seed := range *seeds {
				r := underAttack(t, a, uint64(seed))
				if r.foul != "" {
					t.Fatalf("seed %d: %s", seed, r.foul)
				}
				grants, lapses = grants+r.grants, lapses+r.lapses
			}
			t.Logf("%d grants, %d of them lapsed", grants, lapses)
			if grants < 3**seeds {
				t.Errorf("only %d grants in %d runs", grants, *seeds)
			}
		})
	}
}

// underAttack runs three minutes of contention.
func underAttack(t *testing.T, a attack, seed uint64) *referee {
	referee := &referee{}
	inBubble(t, zktest.Options{Servers: a.servers, TickTime: a.tick, Seed: seed}, func(t *testing.T, e *zktest.Ensemble) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var work sync.WaitGroup
		for i := range 3 {
			opts := on(e)
			if i == 0 {
				opts = on(e, a.first(e)...)
			}
			opts.Timeout = a.timeout
			if a.known {
				opts.TickTime = cmp.Or(a.tick, 2*time.Second)
			}
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			work.Go(func() {
				Run(ctx, opts, func(ctx context.Context, s *Session) error {
					for ctx.Err() == nil {
						contend(ctx, s, "/lock", time.Duration(r.Int64N(int64(40*time.Second))), referee)
						sleep(ctx, time.Duration(r.Int64N(int64(5*time.Second))))
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
