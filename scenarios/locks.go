package scenarios

import (
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// A locker is a lock as one client uses it, in one session.
type locker interface {
	lock(ctx context.Context) (held, error)
	lost() error // why the session is over, nil while it is not
	close()
}

// held is what a locker granted. The context ends when the program is told
// that it no longer holds the lock.
type held struct {
	context.Context
	token  int64
	path   string
	unlock func(context.Context) error
	// lowest reads who is first among the contenders behind a write of the
	// same session: the name and the owner. Nil if the locker cannot.
	lowest func(context.Context) (name string, owner int64, err error)
}

// lockProgram is the workload of clients that contend for one lock and use
// it to count up a fenced resource.
type lockProgram struct {
	resource *harness.Resource
	open     func(ctx context.Context, c *harness.Client, path string) (locker, error)
	// hold is for how long a client holds the lock.
	hold func(c *harness.Client) time.Duration
	// before, if not nil, is called before each round, and holding when the lock
	// begins and ends to be held.
	before  func(ctx context.Context, c *harness.Client)
	holding func(c *harness.Client, holds bool)
}

// sessionTimeout suits ensembles that tick every 500 ms.
const sessionTimeout = 2 * time.Second

func upTo(most time.Duration) func(*harness.Client) time.Duration {
	return func(c *harness.Client) time.Duration { return time.Duration(c.Rand.Int64N(int64(most))) }
}

func (p *lockProgram) workload(env *harness.Env) harness.Workload {
	path := znode.Join(env.Root(), "lock")
	return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
		l, err := p.open(ctx, c, path)
		if err != nil {
			return err
		}
		defer l.close()
		for c.Next(ctx) {
			if p.before != nil {
				p.before(ctx, c)
			}
			p.round(ctx, c, l, path)
			if err := l.lost(); err != nil {
				return err
			}
		}
		return nil
	}}
}

// round acquires the lock, uses the resource, and releases the lock.
func (p *lockProgram) round(ctx context.Context, c *harness.Client, l locker, path string) {
	var h held
	acquire := history.Event{Op: checker.OpAcquire, Object: path}
	_, err := c.Do(ctx, acquire, func(ctx context.Context) (e history.Event, err error) {
		if h, err = l.lock(ctx); err == nil {
			_, name := znode.Split(h.path)
			e = history.Event{Token: h.token, Node: name}
		}
		return e, err
	})
	if err != nil {
		return
	}
	_, name := znode.Split(h.path)
	hold := c.Hold(h, history.Event{Object: path, Token: h.token, Node: name})
	if p.holding != nil {
		p.holding(c, true)
		defer p.holding(c, false)
	}
	p.count(c, h)
	if h.lowest != nil && c.Rand.IntN(4) == 0 {
		verify(ctx, c, h, path)
	}
	hold.End()
	release := history.Event{Op: checker.OpRelease, Object: path, Token: h.token}
	c.Do(ctx, release, func(ctx context.Context) (history.Event, error) {
		return history.Event{}, h.unlock(ctx)
	})
}

// count adds one to the resource, slowly, as long as the lock is held.
func (p *lockProgram) count(c *harness.Client, h held) {
	value, err := p.resource.Read(c, h.token)
	wait(h, p.hold(c))
	if err == nil && h.Err() == nil {
		_ = p.resource.Write(c, h.token, value+1)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func verify(ctx context.Context, c *harness.Client, h held, path string) {
	_, name := znode.Split(h.path)
	op := history.Event{Op: checker.OpVerify, Object: path, Token: h.token, Node: name}
	c.Do(ctx, op, func(ctx context.Context) (history.Event, error) {
		lowest, owner, err := h.lowest(ctx)
		return history.Event{Result: lowest, Session: owner}, err
	})
}

// mutex is lock.Mutex as a locker.
type mutex struct {
	s *session.Session
	m *lock.Mutex
}

// openMutex opens a session with the options, through the client's link.
func openMutex(opts session.Options) func(context.Context, *harness.Client, string) (locker, error) {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		s, err := c.Open(ctx, opts)
		if err != nil {
			return nil, err
		}
		return &mutex{s, lock.NewMutex(s, path, lock.Options{})}, nil
	}
}

func (m *mutex) lock(ctx context.Context) (held, error) {
	g, err := m.m.Lock(ctx)
	if err != nil {
		return held{}, err
	}
	return held{
		Context: g.Context(), token: int64(g.Token()), path: g.Path(), unlock: g.Unlock,
		lowest: func(ctx context.Context) (string, int64, error) { return m.lowest(ctx, g) },
	}, nil
}

func (m *mutex) lowest(ctx context.Context, g *lock.Grant) (string, int64, error) {
	if _, err := g.Txn(ctx); err != nil {
		return "", 0, err
	}
	all, err := m.m.Contenders(ctx)
	if err != nil || len(all) == 0 {
		return "", 0, errors.Join(err, g.Context().Err())
	}
	stat, err := m.s.Exists(ctx, all[0].Path)
	if err != nil || stat == nil {
		return "", 0, errors.Join(err, g.Context().Err())
	}
	_, name := znode.Split(all[0].Path)
	return name, stat.EphemeralOwner, nil
}

func (m *mutex) lost() error { return m.s.Err() }
func (m *mutex) close()      { m.s.Close() }
