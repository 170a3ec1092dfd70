package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/peers"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A fleet starts the clients of a run. All of them run the same program.
type fleet struct {
	recipe  client.Recipe
	timeout time.Duration // of sessions
	servers serversOf

	program func(context.Context) (client.Program, error)
	// The field `futile` is the number of sessions or processes in a row that ended without an OK
	// reply. It is reset to 0 when a session or process with an OK reply ends.
	futile atomic.Int32
}

// mostFutile is the value of the field `futile` at which the run ends.
const mostFutile = 10

// ofLibrary returns a fleet of clients of a library.
func ofLibrary(l peers.Library, recipe client.Recipe, timeout time.Duration, servers serversOf) *fleet {
	return &fleet{recipe: recipe, timeout: timeout, servers: servers, program: l.Client}
}

// allServers returns all servers, which most clients use.
func allServers(_ context.Context, c *harness.Client) []string { return c.Env().Servers() }

// The method `start` starts the program as client c. A nil c is for the set-up and the final reads.
func (f *fleet) start(ctx context.Context, env *harness.Env, c *harness.Client, path string) (*client.Client, error) {
	p, err := f.program(ctx)
	if err != nil {
		return nil, err
	}
	s := client.Setup{Servers: env.Servers(), Timeout: f.timeout, Path: path, Recipe: f.recipe, Permits: permits}
	if c == nil {
		return client.Start(ctx, p, s, client.Options{Dial: env.Dial})
	}
	if s.Number = c.ID; f.servers != nil {
		s.Servers = f.servers(ctx, c)
	}
	started, err := client.Start(ctx, p, s, client.Options{Dial: c.Dial, Log: c.Log(), Session: func(s client.Session) { seen(c, s) }})
	if err == nil && p.Inside == nil {
		c.RunsIn(started)
	}
	return started, err
}

// The function `seen` records what a server has reported to a client about its session: a new
// session, or the loss of the old one.
func seen(c *harness.Client, s client.Session) {
	switch now, has := c.Session(); {
	case s.ID != 0 && s.ID != now.ID:
		c.Opened(harness.SessionInfo{ID: s.ID, Password: s.Password, Timeout: s.Timeout})
	case s.ID == 0 && has:
		c.SessionState(now.ID, history.SessionLost, errors.New("no server has the session any more"))
	}
}

// The method `ended` closes a client whose session or process is over. If the client broke the
// protocol, `ended` also ends the run. It also ends the run after mostFutile consecutive sessions
// or processes without an OK reply, because the rest of such a run would test nothing.
func (f *fleet) ended(c *harness.Client, started *client.Client, useful bool) {
	c.RunsIn(nil)
	why := started.Err()
	started.Close()
	if useful {
		f.futile.Store(0)
	} else {
		f.failed(c, why)
	}
	if broken := (*client.ProtocolError)(nil); errors.As(why, &broken) {
		c.Env().GiveUp(fmt.Errorf("client c%d broke the protocol: %w", c.ID, broken))
	}
}

// The method `failed` counts a session or process that ended without an OK reply.
func (f *fleet) failed(c *harness.Client, why error) {
	if f.futile.Add(1) >= mostFutile && why != nil {
		c.Env().GiveUp(fmt.Errorf("clients end before an operation succeeds, most recently c%d: %w", c.ID, why))
	}
}

// The function `needing` returns `inner` with a longer setup. The setup also starts the program of
// each fleet once, and fails if a program does not start. For Curator this first start compiles the
// client, which takes seconds on a slow machine.
func needing(inner func(*harness.Env) harness.Workload, fleets ...*fleet) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		w := inner(env)
		setup := w.Setup
		w.Setup = func(ctx context.Context, env *harness.Env) error {
			for _, f := range fleets {
				first, err := f.start(ctx, env, nil, znode.Join(env.Root(), "first"))
				if err != nil {
					return err
				}
				first.Close()
			}
			if setup == nil {
				return nil
			}
			return setup(ctx, env)
		}
		return w
	}
}

// A remote is a running program that a fleet has started. Each remote is one life of a client: see
// type life. Its methods may be called from any goroutine.
type remote struct {
	*client.Client
	f *fleet
	c *harness.Client // nil for the final reads

	turn   chan struct{} // full during a request, because a client makes one request at a time
	useful bool          // at least one operation succeeded
}

// The method `enter` starts the client's program. A nil c is for the final reads.
func (f *fleet) enter(ctx context.Context, env *harness.Env, c *harness.Client, path string) (*remote, error) {
	started, err := f.start(ctx, env, c, path)
	if err != nil {
		if c != nil {
			f.failed(c, err)
		}
		return nil, err
	}
	return &remote{Client: started, f: f, c: c, turn: make(chan struct{}, 1)}, nil
}

// The method `request` passes q to `call`, which sends q and waits for the client's reply.
//
// A deadline of ctx has two effects. The client stops waiting for a lock or an item at the
// deadline, unless q already has a limit. And `call` waits for the client's reply even after ctx
// has ended.
func (r *remote) request(ctx context.Context, q client.Request, call func(context.Context, client.Request) (client.Reply, error)) (client.Reply, error) {
	r.turn <- struct{}{} // not a mutex, because waiting for a mutex would stop a virtual clock
	defer func() { <-r.turn }()
	if end, bounded := ctx.Deadline(); bounded {
		if q.Waits() && q.WaitMS == nil {
			wait := max(0, time.Until(end).Milliseconds())
			q.WaitMS = &wait
		}
		ctx = context.WithoutCancel(ctx)
	}
	reply, err := call(ctx, q)
	r.useful = r.useful || err == nil
	return reply, err
}

func (r *remote) do(ctx context.Context, q client.Request) (client.Reply, error) {
	return r.request(ctx, q, r.Do)
}

// The method `grant` sends a request for a hold, such as a lock. The returned context ends when the
// hold is lost.
func (r *remote) grant(ctx context.Context, q client.Request) (reply client.Reply, grant context.Context, err error) {
	reply, err = r.request(ctx, q, func(ctx context.Context, q client.Request) (reply client.Reply, err error) {
		reply, grant, err = r.Grant(ctx, q)
		return reply, err
	})
	return reply, grant, err
}

// The method `end` stops the client's program.
func (r *remote) end() {
	if r.c == nil {
		r.Close()
		return
	}
	r.f.ended(r.c, r.Client, r.useful)
}

// A life is a session or a process of a client. It is over when Err is not nil.
type life interface{ Err() error }

// The function `live` opens a session and calls f with it. f must return when the session or the
// run ends. If the session ends first, `live` returns the error of the session.
func live(ctx context.Context, c *harness.Client, opts session.Options, f func(s *session.Session)) error {
	s, err := c.Open(ctx, opts)
	if err != nil {
		return err
	}
	defer s.Close()
	f(s)
	if c.Next(ctx) {
		return s.Err()
	}
	return nil
}

// A supply provides the objects that the clients of a scenario use, for example queues. An object
// uses either a session of this process, or a client in another language.
type supply[T any] struct {
	open  func(s *session.Session, path string) T
	meter *meter // of the sessions in which `open` is called; nil means none
	fleet *fleet // nil means that `open` is used
	apart func(*remote) T
}

// The function `within` supplies objects in sessions of this process.
func within[T any](open func(s *session.Session, path string) T) supply[T] {
	return supply[T]{open: open}
}

// The method `enter` opens a session, or starts a client in another language. The returned function
// `end` closes the session or ends the client.
func (u supply[T]) enter(ctx context.Context, c *harness.Client, path string) (uses T, of life, end func(), err error) {
	if u.fleet != nil {
		r, err := u.fleet.enter(ctx, c.Env(), c, path)
		if err != nil {
			return uses, nil, nil, err
		}
		return u.apart(r), r, r.end, nil
	}
	s, err := c.Open(ctx, u.meter.on(leased()))
	if err != nil {
		return uses, nil, nil, err
	}
	return u.open(s, path), s, func() { s.Close() }, nil
}

// The method `last` calls f for the final operations of a run, in a new session or with a new
// client.
func (u supply[T]) last(ctx context.Context, env *harness.Env, path string, f func(T) error) error {
	if u.fleet == nil {
		return final(ctx, env, func(s *session.Session) error { return f(u.open(s, path)) })
	}
	r, err := u.fleet.enter(ctx, env, nil, path)
	if err != nil {
		return err
	}
	defer r.end()
	return f(u.apart(r))
}

// The method `open` starts the program for client c and returns the lock of that program.
func (f *fleet) open(ctx context.Context, c *harness.Client, path string) (locker, error) {
	r, err := f.enter(ctx, c.Env(), c, path)
	if err != nil {
		return locker{}, err
	}
	return locker{r.lock, r, r.end}, nil
}

// The method `operations` returns the names of the operations that acquire and release.
func (f *fleet) operations(want string) (acquire, release string) {
	switch f.recipe {
	case client.RWLock:
		return "acquire-" + want, client.OpRelease
	case client.Semaphore:
		return client.OpAcquirePermit, client.OpRelease
	case client.Election:
		return client.OpCampaign, client.OpResign
	}
	return client.OpAcquire, client.OpRelease
}

// The method `lock` acquires what the recipe of the fleet grants, for example a permit.
func (r *remote) lock(ctx context.Context, want string) (held, error) {
	acquire, release := r.f.operations(want)
	reply, grant, err := r.grant(ctx, client.Request{Op: acquire})
	if err != nil {
		return held{}, err
	}
	return held{Context: grant, token: reply.Token, path: reply.Node, unlock: func(ctx context.Context) error {
		_, err := r.do(ctx, client.Request{Op: release})
		return err
	}}, nil
}
