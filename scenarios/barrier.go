package scenarios

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Barrier runs a barrier under every fault. One client sets and removes the barrier, one writes to
// the barrier's znode, and the others wait.
func Barrier() harness.Scenario {
	return harness.Scenario{
		Name:       "barrier",
		Claim:      "Under every fault no waiter passes a barrier that is set, and all pass once it is removed, even if it is set again at once.",
		Guarantees: []string{"B1", "B2"},
		Clients:    5,
		Workload:   barrierWorkload(within(openBarrier)),
		Faults:     faults("all"),
		Checkers: []checker.Checker{checker.BarrierNoEarlyPass(),
			checker.IfExercised(checker.BarrierOpensInTime(4 * time.Second)),
			checker.BarrierNoMissedRemoval(4 * time.Second),
			checker.NothingLeft("znodes", "goroutines")},
		Calm: 15 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "any-event",
			Report:   "a woken waiter does not check which event woke it; here it is a write to the barrier's znode",
			Violates: []string{"barrier/no-early-pass"},
			Workload: barrierWorkload(waitingBy(anyEvent)),
		}, {
			Name:     "blip",
			Report:   "kazoo's Barrier: wait() hangs after one TCP blip",
			Violates: []string{"barrier/no-missed-removal"},
			Faults:   []string{"link-reset"},
			Workload: barrierWorkload(waitingBy(hangsAfterBlip)),
		}, {
			Name:     "own-server",
			Report:   "Curator's and kazoo's barriers read the state from their own server, which may be cut off",
			Violates: []string{"barrier/no-early-pass"},
			Faults:   []string{"partition-one", "partition-clients"},
			Workload: barrierWorkload(waitingBy(ownServer)),
		}},
	}
}

// A gate is one client's handle on a barrier in one session.
type gate interface {
	Set(ctx context.Context) error
	Remove(ctx context.Context) error
	Wait(ctx context.Context) error
}

func openBarrier(s *session.Session, path string) gate { return barrier.New(s, path) }

// A brokenGate is a gate with a wrong implementation of Wait.
type brokenGate struct {
	gate
	wait waiter
}

type waiter func(ctx context.Context) error

func (g brokenGate) Wait(ctx context.Context) error { return g.wait(ctx) }

func waitingBy(wait func(s *session.Session, path string) waiter) supply[gate] {
	return within(func(s *session.Session, path string) gate { return brokenGate{openBarrier(s, path), wait(s, path)} })
}

func barrierWorkload(gates supply[gate]) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		path := znode.Join(env.Root(), "barrier")
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			if c.ID == 1 {
				return disturb(ctx, c, path)
			}
			g, life, end, err := gates.enter(ctx, c, path)
			if err != nil {
				return err
			}
			defer end()
			if c.ID == 0 {
				return setAndRemove(ctx, c, gates, g, life, path)
			}
			waitAgain(ctx, c, g, life, path)
			if c.Next(ctx) {
				return life.Err()
			}
			return nil
		}}
	}
}

// The function `disturb` writes to the barrier's znode repeatedly.
func disturb(ctx context.Context, c *harness.Client, path string) error {
	return live(ctx, c, leased(), func(s *session.Session) {
		for c.Next(ctx) && s.Err() == nil {
			_, _ = s.Set(ctx, path, nil, session.AnyVersion)
			c.Pause(ctx, upTo(200*time.Millisecond)(c))
		}
	})
}

// setAndRemove sets and removes a barrier repeatedly, and removes it at the end of the run.
func setAndRemove(ctx context.Context, c *harness.Client, gates supply[gate], g gate, of life, path string) error {
	do := func(op string, f func(context.Context) error) {
		c.Do(ctx, history.Event{Op: op, Object: path}, func(ctx context.Context) (e history.Event, err error) { return e, f(ctx) })
	}
	for c.Next(ctx) && of.Err() == nil {
		do(checker.OpSet, g.Set)
		c.Pause(ctx, usual(c))
		do(checker.OpRemove, g.Remove)
		c.Pause(ctx, upTo(300*time.Millisecond)(c))
	}
	if c.Next(ctx) {
		return of.Err()
	}
	return gates.last(ctx, c.Env(), path, func(g gate) error {
		do(checker.OpRemove, g.Remove)
		return nil
	})
}

func waitAgain(ctx context.Context, c *harness.Client, g gate, of life, path string) {
	waiting, stop := lasting(ctx, c)
	defer stop()
	for c.Next(ctx) && of.Err() == nil {
		c.Do(waiting, history.Event{Op: checker.OpWait, Object: path}, func(ctx context.Context) (e history.Event, err error) { return e, g.Wait(ctx) })
		c.Pause(ctx, upTo(50*time.Millisecond)(c))
	}
}

// anyEvent returns a waiter that treats any event on the znode as the removal of the barrier.
func anyEvent(s *session.Session, path string) waiter {
	return func(ctx context.Context) error {
		if err := recipe.ReadBarrier(ctx, s, path); err != nil {
			return err
		}
		stat, w, err := s.ExistsWatch(ctx, path)
		if err != nil || stat == nil {
			if w != nil {
				w.Stop()
			}
			return err
		}
		_, err = w.Wait(ctx)
		return err
	}
}

// hangsAfterBlip returns a waiter that misses the removal of the barrier if the connection was lost
// during the wait.
func hangsAfterBlip(s *session.Session, path string) waiter {
	b := barrier.New(s, path)
	return func(ctx context.Context) error {
		states, stop := context.WithCancel(ctx)
		defer stop()
		blip := make(chan struct{})
		done := make(chan error, 1)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for state := range s.States(states) {
				if state == session.Suspended {
					close(blip)
					return
				}
			}
		}()
		defer func() { stop(); <-over }()
		go func() { done <- b.Wait(ctx) }()
		err := <-done
		select {
		case <-blip:
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-s.Done():
				return s.Err()
			}
		default:
			return err
		}
	}
}

// ownServer returns a waiter that reads the state only from the server that the session is
// connected to.
func ownServer(s *session.Session, path string) waiter {
	return func(ctx context.Context) error {
		for {
			stat, w, err := s.ExistsWatch(ctx, path)
			if errors.Is(err, zk.ErrNoNode) || err == nil && stat == nil {
				if w != nil {
					w.Stop()
				}
				return nil
			}
			if err == nil {
				_, err = w.Wait(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
}
