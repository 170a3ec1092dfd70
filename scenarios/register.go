package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Register judges the servers themselves. Clients write and read znodes. The checkers require that
// the zxids in the servers' answers follow the rules that ZooKeeper promises.
func Register() harness.Scenario {
	return harness.Scenario{
		Name:     "register",
		Claim:    "Under every fault writes are linearizable, a read after a read barrier sees all before it, and a session never goes back.",
		Clients:  5,
		Workload: registerWorkload(recipe.ReadBarrier),
		Faults:   faults("all"),
		Checkers: append(checker.Register(), checker.NothingLeft("znodes", "goroutines")),
		Mutants: []harness.Mutant{{
			Name:     "no-barrier",
			Report:   "a read of the client's own server, which may be cut off, is believed to be the newest",
			Violates: []string{"register/reads-after-sync"},
			Faults:   []string{"partition-one", "partition-clients"},
			Workload: registerWorkload(func(context.Context, *session.Session, string) error { return nil }),
		}, {
			Name:     "sync",
			Report:   "ZOOKEEPER-1675: sync is not a quorum operation, so a leader that was replaced answers it",
			Violates: []string{"register/reads-after-sync"},
			Faults:   []string{"partition-leader", "partition-halves"},
			Workload: registerWorkload(func(ctx context.Context, s *session.Session, path string) error { return s.Sync(ctx, path) }),
		}, {
			Name:     "two-connections",
			Report:   "a pool of connections: each is sequential by itself, but a program that uses two of them goes back in time",
			Violates: []string{"register/reads-sequential"},
			Faults:   []string{"partition-one", "partition-clients"},
			Workload: twoConnections,
		}},
	}
}

const (
	registers = 2
	readers   = 3 // number of clients that never write
)

func registerPath(env *harness.Env, i int) string {
	return znode.Join(env.Root(), "register-"+strconv.Itoa(i))
}

func createRegisters(ctx context.Context, env *harness.Env) error {
	return final(ctx, env, func(s *session.Session) error {
		for i := range registers {
			if _, err := s.Create(ctx, registerPath(env, i), nil, session.Persistent); err != nil {
				return err
			}
		}
		return nil
	})
}

// registerWorkload returns a workload that reads and writes. Before a read that must see the latest
// state, the client calls the function `barrier`.
func registerWorkload(barrier func(ctx context.Context, s *session.Session, path string) error) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		return harness.Workload{Setup: createRegisters, Work: func(ctx context.Context, c *harness.Client) error {
			return live(ctx, c, leased(), func(s *session.Session) {
				for n := 0; c.Next(ctx) && s.Err() == nil; n++ {
					path := registerPath(env, c.Rand.IntN(registers))
					// Some clients only read, because a write that waits for a quorum would block
					// the reads after it.
					switch choice := c.Rand.IntN(3); {
					case choice == 0 && c.ID >= readers:
						write(ctx, c, s, path, fmt.Sprintf("%x-%d", s.ID(), n))
					case choice == 1:
						read(ctx, c, s, path, "", nil)
					default:
						read(ctx, c, s, path, "sync", barrier)
					}
					c.Pause(ctx, upTo(60*time.Millisecond)(c))
				}
			})
		}}
	}
}

func write(ctx context.Context, c *harness.Client, s *session.Session, path, value string) {
	c.Do(ctx, history.Event{Op: checker.OpSetValue, Object: path, Arg: value}, func(ctx context.Context) (e history.Event, err error) {
		stat, err := s.Set(ctx, path, []byte(value), session.AnyVersion)
		if err == nil {
			e.Zxid = stat.Mzxid
		}
		return e, err
	})
}

func read(ctx context.Context, c *harness.Client, s *session.Session, path, arg string,
	before func(ctx context.Context, s *session.Session, path string) error) {
	c.Do(ctx, history.Event{Op: checker.OpRead, Object: path, Arg: arg}, func(ctx context.Context) (e history.Event, err error) {
		if before != nil {
			if err := before(ctx, s, path); err != nil {
				return e, err
			}
		}
		value, err := s.Get(ctx, path)
		if err == nil {
			e.Zxid, e.Result, e.Node = value.Stat.Mzxid, string(value.Data), s.Server()
		}
		return e, err
	})
}

// twoConnections makes client 0 read through two sessions in turn, and records them as one session.
func twoConnections(env *harness.Env) harness.Workload {
	w := registerWorkload(recipe.ReadBarrier)(env)
	work := w.Work
	w.Work = func(ctx context.Context, c *harness.Client) error {
		if c.ID != 0 {
			return work(ctx, c)
		}
		var pool []*session.Session
		for range 2 {
			s, err := session.Open(ctx, session.Options{Servers: env.Servers(), Dial: c.Dial, Timeout: sessionTimeout})
			if err != nil {
				return err
			}
			defer s.Close()
			pool = append(pool, s)
		}
		c.Opened(harness.SessionInfo{ID: pool[0].ID(), Timeout: sessionTimeout})
		for n := 0; c.Next(ctx) && pool[0].Err() == nil && pool[1].Err() == nil; n++ {
			read(ctx, c, pool[n%2], registerPath(env, c.Rand.IntN(registers)), "", nil)
			c.Pause(ctx, upTo(100*time.Millisecond)(c))
		}
		return errors.Join(pool[0].Err(), pool[1].Err())
	}
	return w
}
