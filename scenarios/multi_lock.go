package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// MultiLock has clients that acquire two or three of four locks together. Each lock has its own
// fenced resource.
func MultiLock() harness.Scenario {
	return harness.Scenario{
		Name:       "multi-lock",
		Claim:      "Under every fault locks that are acquired together are held by one client at a time, all or none, and no client waits without end.",
		Guarantees: []string{"L1", "L2", "L3", "L4", "L7", "S2"},
		Clients:    5,
		Workload:   multiWorkload(leased(), takeMulti),
		Faults:     faults("all"),
		Checkers: append(checker.Mutex(exposed(), 30*time.Second), checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.LockGrantsInOrder(exposed()), checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))),
		Guards: []checker.Checker{checker.Grants(20), checker.Contention(5)},
		Mutants: []harness.Mutant{trustingMutant("lock/no-overlap", multiWorkload(trusting(), takeMulti)), {
			Name:     "as-given",
			Report:   "Curator's InterProcessMultiLock takes the locks in the order in which they are given",
			Violates: []string{"client/waiters-served"},
			Workload: multiWorkload(leased(), takeAsGiven),
		}, {
			Name:     "keeps",
			Report:   "kazoo#732, #429: a failed acquire leaves its znodes; here, if one of several locks cannot be acquired, the locks before it are not released",
			Violates: []string{"client/waiters-served"},
			Workload: multiWorkload(leased(), takeAndKeep),
		}, lateMutant("lock/no-overlap", multiWorkload(leased(), takeLate))},
	}
}

// A multiTaker acquires the locks at paths.
type multiTaker func(ctx context.Context, s *session.Session, paths []string) (multiHeld, error)

// multiHeld is the result of a multiTaker.
type multiHeld struct {
	context.Context
	grants []*lock.Grant
	unlock func(context.Context) error
}

func takeMulti(ctx context.Context, s *session.Session, paths []string) (multiHeld, error) {
	g, err := lock.NewMulti(s, paths, lock.Options{}).Lock(ctx)
	if err != nil {
		return multiHeld{}, err
	}
	return multiHeld{g.Context(), g.Grants(), g.Unlock}, nil
}

// takeAsGiven acquires the locks in the given order. If it cannot acquire one of them, it releases
// the locks that it has already acquired.
func takeAsGiven(ctx context.Context, s *session.Session, paths []string) (multiHeld, error) {
	return oneByOne(ctx, s, paths, true)
}

// takeAndKeep acquires the locks in sorted order. If it cannot acquire one of them, it keeps the
// locks that it has already acquired.
func takeAndKeep(ctx context.Context, s *session.Session, paths []string) (multiHeld, error) {
	return oneByOne(ctx, s, slices.Sorted(slices.Values(paths)), false)
}

// takeLate acquires the locks like takeMulti. But its unlock ends the context only after the locks
// are released.
func takeLate(ctx context.Context, s *session.Session, paths []string) (multiHeld, error) {
	h, err := takeMulti(ctx, s, paths)
	if err != nil {
		return h, err
	}
	var end func()
	h.Context, end = outliving(h.Context, lock.ErrReleased)
	unlock := h.unlock
	h.unlock = func(ctx context.Context) error {
		defer end()
		return unlock(ctx)
	}
	return h, nil
}

func oneByOne(ctx context.Context, s *session.Session, paths []string, all bool) (multiHeld, error) {
	var h multiHeld
	joint, end := context.WithCancelCause(context.Background())
	h.Context = joint
	h.unlock = func(ctx context.Context) (err error) {
		end(lock.ErrReleased)
		for _, g := range h.grants {
			err = errors.Join(err, g.Unlock(ctx))
		}
		return err
	}
	for _, path := range paths {
		g, err := lock.NewMutex(s, path, lock.Options{}).Lock(ctx)
		if err != nil {
			if all {
				err = errors.Join(err, h.unlock(context.WithoutCancel(ctx)))
			}
			return multiHeld{}, err
		}
		context.AfterFunc(g.Context(), func() { end(context.Cause(g.Context())) })
		h.grants = append(h.grants, g)
	}
	return h, nil
}

// multiProgram is the workload of clients that acquire several locks together.
type multiProgram struct {
	take      multiTaker
	paths     []string
	resources map[string]*harness.Resource // path of a lock -> its resource
}

func multiWorkload(opts session.Options, take multiTaker) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := multiProgram{take: take, resources: make(map[string]*harness.Resource)}
		for i := range 4 {
			path := znode.Join(env.Root(), fmt.Sprintf("lock-%d", i))
			p.paths = append(p.paths, path)
			p.resources[path] = harness.NewResource(fmt.Sprintf("account-%d", i))
		}
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			s, err := c.Open(ctx, opts)
			if err != nil {
				return err
			}
			defer s.Close()
			for c.Next(ctx) {
				p.round(ctx, c, s)
				if s.Err() != nil {
					return s.Err()
				}
			}
			return nil
		}}
	}
}

// The method `round` acquires some of the locks, uses their resources, and releases the locks. In
// the history, the event of the acquire names only the first lock as its object.
func (p *multiProgram) round(ctx context.Context, c *harness.Client, s *session.Session) {
	var paths []string
	for _, i := range c.Rand.Perm(len(p.paths))[:2+c.Rand.IntN(2)] {
		paths = append(paths, p.paths[i])
	}
	h, err := p.acquire(ctx, c, s, paths)
	if err != nil {
		c.Pause(ctx, time.Millisecond) // lets virtual time pass: see lockProgram.round
		return
	}
	var holds []*harness.Hold
	for _, g := range h.grants {
		dir, name := znode.Split(g.Path())
		holds = append(holds, c.Hold(h, history.Event{Object: dir, Token: int64(g.Token()), Node: name}))
	}
	p.count(c, h)
	release := history.Event{Op: checker.OpRelease, Object: paths[0], Token: tokenOf(h, paths[0])}
	c.Do(ctx, release, func(ctx context.Context) (history.Event, error) {
		unlock := func() error { return h.unlock(ctx) }
		for _, hold := range holds {
			inner := unlock
			unlock = func() error { return hold.Release(inner) }
		}
		return history.Event{}, unlock()
	})
}

func (p *multiProgram) acquire(ctx context.Context, c *harness.Client, s *session.Session, paths []string) (h multiHeld, err error) {
	ctx, cancel := limited(ctx, often(6, 300*time.Millisecond)(c))
	defer cancel()
	op := history.Event{Op: checker.OpAcquire, Object: paths[0], Arg: strings.Join(paths, " ")}
	_, err = c.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) {
		if h, err = p.take(ctx, s, paths); err == nil {
			e.Token = tokenOf(h, paths[0])
		}
		return e, err
	})
	return h, err
}

// tokenOf returns the token of the lock at path, which is one of the locks held.
func tokenOf(h multiHeld, path string) int64 {
	for _, g := range h.grants {
		if dir, _ := znode.Split(g.Path()); dir == path {
			return int64(g.Token())
		}
	}
	return 0
}

// The method `count` increments the resource of each lock, as long as all locks are held.
func (p *multiProgram) count(c *harness.Client, h multiHeld) {
	values := make(map[string]int64)
	for _, g := range h.grants {
		dir, _ := znode.Split(g.Path())
		value, err := p.resources[dir].Read(c, int64(g.Token()))
		if err != nil {
			return
		}
		values[dir] = value
	}
	times.Sleep(h, usual(c))
	for _, g := range h.grants {
		dir, _ := znode.Split(g.Path())
		if h.Err() == nil {
			_ = p.resources[dir].Write(c, int64(g.Token()), values[dir]+1)
		}
	}
}
