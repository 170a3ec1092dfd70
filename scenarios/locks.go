package scenarios

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// A locker is a lock as one client uses it in one session or process.
type locker struct {
	lock  lockFunc
	of    life
	close func()
}

// A lockFunc acquires a lock or permits. Its argument `want` is empty, a mode, or a number of
// permits. Events record `want` in their field Arg.
type lockFunc func(ctx context.Context, want string) (held, error)

// The type `held` is a grant of a locker. The context ends when the program learns that it no
// longer holds the lock.
type held struct {
	context.Context
	token  int64
	path   string
	unlock func(context.Context) error
	// The field `ends` reports whether unlock ends the context. If it is false, only a loss ends
	// the context.
	ends bool
	// downgrade turns a writer into a reader. It is nil if the locker cannot do that.
	downgrade func(context.Context) error
	// The function `lowest` returns the name and the owner of the first contender. It first makes a
	// write in the same session, so that the list of contenders is not old. The field is nil if the
	// locker cannot do that.
	lowest func(context.Context) (name string, owner int64, err error)
}

// lockProgram is the workload of clients that contend for one lock and use it to increment a fenced
// resource.
type lockProgram struct {
	name string // of the lock; empty means "lock"
	open opener
	// account creates the fenced resource of a run. Nil means that there is none.
	account  func(name string) *harness.Resource
	resource *harness.Resource
	// op is the name of the operation that acquires. Empty means checker.OpAcquire.
	op string
	// The function `want` returns the argument `want` of the lockFunc: what a client requests, for
	// example the number of permits. If the function is nil, the argument is always empty.
	want func(c *harness.Client) string
	// The function `patience` returns how long a client waits for the lock. If the result is zero,
	// or if the function is nil, there is no limit.
	patience func(c *harness.Client) time.Duration
	// hold returns how long a client holds the lock.
	hold func(c *harness.Client) time.Duration
	// On average, one hold in `verifies` ends with a check that the holder is the first contender.
	// Zero means four.
	verifies int
	// If `late` is set, a client writes even if it has lost the lock meanwhile. It behaves like a
	// program that is paused between its last check and the write.
	late bool
	// If `using` is not nil, a client that holds the lock calls this function instead of using the
	// resource.
	using func(ctx context.Context, c *harness.Client, l locker, h held)
	// The function `before`, if not nil, is called before each round. The function `holding`, if
	// not nil, is called when a client begins to hold the lock and when it no longer holds it.
	before  func(ctx context.Context, c *harness.Client)
	holding func(c *harness.Client, holds bool)
}

// sessionTimeout suits ensembles with a tick of 500 ms.
const sessionTimeout = 2 * time.Second

func upTo(most time.Duration) func(*harness.Client) time.Duration {
	return func(c *harness.Client) time.Duration { return time.Duration(c.Rand.Int64N(int64(most))) }
}

func (p lockProgram) workload(env *harness.Env) harness.Workload {
	path := znode.Join(env.Root(), cmp.Or(p.name, "lock"))
	if p.account != nil {
		p.resource = p.account("account")
	}
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
			if err := l.of.Err(); err != nil {
				return err
			}
		}
		return nil
	}}
}

// The method `round` acquires the lock, uses the resource, and releases the lock.
func (p *lockProgram) round(ctx context.Context, c *harness.Client, l locker, path string) {
	want := ""
	if p.want != nil {
		want = p.want(c)
	}
	h, err := p.acquire(ctx, c, l, path, want)
	if err != nil {
		// Without this pause, an immediate failure would repeat without end in virtual time.
		c.Pause(ctx, time.Millisecond)
		return
	}
	_, name := znode.Split(h.path)
	grant := history.Event{Object: path, Token: h.token, Node: name, Arg: want}
	hold := c.Hold(h, grant)
	if p.holding != nil {
		p.holding(c, true)
		defer p.holding(c, false)
	}
	if p.using != nil {
		p.using(ctx, c, l, h)
	} else {
		p.use(c, h, want)
	}
	if h.lowest != nil && c.Rand.IntN(cmp.Or(p.verifies, 4)) == 0 {
		verify(ctx, c, h, path)
	}
	if h.downgrade != nil && c.Rand.IntN(4) == 0 {
		hold.End()
		hold, want = p.downgrade(ctx, c, h, grant), checker.ModeRead
	}
	if !h.ends {
		hold.End()
	}
	release := history.Event{Op: checker.OpRelease, Object: path, Token: h.token, Arg: want}
	c.Do(ctx, release, func(ctx context.Context) (history.Event, error) {
		return history.Event{}, hold.Release(func() error { return h.unlock(ctx) })
	})
}

func (p *lockProgram) acquire(ctx context.Context, c *harness.Client, l locker, path, want string) (h held, err error) {
	if p.patience != nil {
		var cancel context.CancelFunc
		ctx, cancel = limited(ctx, p.patience(c))
		defer cancel()
	}
	acquire := history.Event{Op: cmp.Or(p.op, checker.OpAcquire), Object: path, Arg: want}
	_, err = c.Do(ctx, acquire, func(ctx context.Context) (e history.Event, err error) {
		if h, err = l.lock(ctx, want); err == nil {
			_, name := znode.Split(h.path)
			e = history.Event{Token: h.token, Node: name}
		}
		return e, err
	})
	return h, err
}

// The method `use` reads the resource and holds the lock for a while. Then it writes the value plus
// one if the lock is still held or p.late is set. A reader does not write.
func (p *lockProgram) use(c *harness.Client, h held, want string) {
	if p.resource == nil {
		times.Sleep(h, p.hold(c))
		return
	}
	value, err := p.resource.Read(c, h.token)
	times.Sleep(h, p.hold(c))
	if err == nil && (p.late || h.Err() == nil) && want != checker.ModeRead {
		_ = p.resource.Write(c, h.token, value+1)
	}
}

// The method `downgrade` converts the writer's grant h to a reader's grant, and continues as a
// reader for a while. It returns the reader's hold. This hold begins before the request to
// downgrade, because the client holds at least a read lock during the request. The caller has
// already ended the writer's hold, because the request may end the writer's rights at any moment.
func (p *lockProgram) downgrade(ctx context.Context, c *harness.Client, h held, grant history.Event) *harness.Hold {
	grant.Arg = checker.ModeRead
	hold := c.Hold(h, grant)
	op := history.Event{Op: "downgrade", Object: grant.Object, Token: h.token}
	_, err := c.Do(ctx, op, func(ctx context.Context) (history.Event, error) {
		return history.Event{}, h.downgrade(ctx)
	})
	if err == nil {
		times.Sleep(h, p.hold(c))
	}
	return hold
}

// The function `outliving` returns a context that ends with ctx. But if ctx ends with the error
// `released` as its cause, the returned context continues until the caller calls `end`. This models
// a library that deletes the znode first and ends the context afterwards.
func outliving(ctx context.Context, released error) (late context.Context, end func()) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, released) {
			cancel(cause)
		}
	})
	return late, func() { cancel(released) }
}

func verify(ctx context.Context, c *harness.Client, h held, path string) {
	_, name := znode.Split(h.path)
	op := history.Event{Op: checker.OpVerify, Object: path, Token: h.token, Node: name}
	c.Do(ctx, op, func(ctx context.Context) (history.Event, error) {
		lowest, owner, err := h.lowest(ctx)
		return history.Event{Result: lowest, Session: owner}, err
	})
}

// An opener opens a session or starts a program for a client, and returns its lock.
type opener func(ctx context.Context, c *harness.Client, path string) (locker, error)

// inSession returns an opener that opens a session with opts through the client's proxy, and calls
// `make` with that session. The opener stores the result of `make` in the field `lock` of the
// locker that it returns.
func inSession(opts session.Options, make func(s *session.Session, path string) lockFunc) opener {
	return func(ctx context.Context, c *harness.Client, path string) (locker, error) {
		s, err := c.Open(ctx, opts)
		if err != nil {
			return locker{}, err
		}
		return locker{make(s, path), s, func() { s.Close() }}, nil
	}
}

// openMutex returns an opener that opens a session and creates a lock.Mutex in it.
func openMutex(opts session.Options) opener {
	return inSession(opts, func(s *session.Session, path string) lockFunc {
		m := lock.NewMutex(s, path, lock.Options{})
		return func(ctx context.Context, _ string) (held, error) {
			g, err := m.Lock(ctx)
			if err != nil {
				return held{}, err
			}
			h := heldBy(g)
			h.lowest = func(ctx context.Context) (string, int64, error) { return lowest(ctx, s, m, g) }
			return h, nil
		}
	})
}

// The function `leased` returns the options of most sessions here. The function `trusting` returns
// the options of a program that trusts its grants until an event reports the loss of its session.
// Users of go-zookeeper, Curator and kazoo write such programs.
func leased() session.Options { return session.Options{Timeout: sessionTimeout} }

func trusting() session.Options {
	return session.Options{Timeout: sessionTimeout, UnsafeHoldUntilLost: true}
}

// heldBy returns a lock.Grant as a value of the type held.
func heldBy(g *lock.Grant) held {
	return held{Context: g.Context(), token: int64(g.Token()), path: g.Path(), unlock: g.Unlock, ends: true}
}

// heldIf returns heldBy(g) if err is nil, and err otherwise. Its arguments are the results of a
// call that acquires a lock.
func heldIf(g *lock.Grant, err error) (held, error) {
	if err != nil {
		return held{}, err
	}
	return heldBy(g), nil
}

// The function `usual` returns how long a client holds the lock in most programs of this package.
// The time is short in nine of ten calls, and longer than the session timeout in the others.
func usual(c *harness.Client) time.Duration {
	if c.Rand.IntN(10) == 0 {
		return sessionTimeout + upTo(2*sessionTimeout)(c)
	}
	return upTo(150 * time.Millisecond)(c)
}

// The function `often` returns a function that draws a random time up to d in one of n calls, and
// returns zero otherwise.
func often(n int, d time.Duration) func(*harness.Client) time.Duration {
	return func(c *harness.Client) time.Duration {
		if c.Rand.IntN(n) > 0 {
			return 0
		}
		return upTo(d)(c)
	}
}

// The function `limited` returns ctx with a timeout, unless d is zero.
func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// The function `lowest` returns the name and the owner of the first contender. It first sends a
// transaction, so that it does not read an old list.
func lowest(ctx context.Context, s *session.Session, m *lock.Mutex, g *lock.Grant) (string, int64, error) {
	if _, err := g.Txn(ctx); err != nil {
		return "", 0, err
	}
	all, err := m.Contenders(ctx)
	if err != nil || len(all) == 0 {
		return "", 0, errors.Join(err, g.Context().Err())
	}
	stat, err := s.Exists(ctx, all[0].Path)
	if err != nil || stat == nil {
		return "", 0, errors.Join(err, g.Context().Err())
	}
	_, name := znode.Split(all[0].Path)
	return name, stat.EphemeralOwner, nil
}
