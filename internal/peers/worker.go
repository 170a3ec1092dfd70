package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// workerMark is an environment variable. If it is set in a process, the process is a client of
// library Zkcoord.
const workerMark = "ZKCOORD_PEER"

// If this process was started as a client of library Zkcoord, Work runs the client and then ends
// the process. Otherwise Work does nothing. Programs that start such clients call Work first.
func Work() {
	if os.Getenv(workerMark) == "" {
		return
	}
	s, err := client.FromEnvironment()
	if err == nil {
		err = Zkcoord.serve(s, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The method `serve` runs a client of the library, which must be in Go.
func (l Library) serve(setup client.Setup, in io.Reader, out io.Writer) error {
	switch l {
	case ZKLock, ZKLockUntilExpired:
		return serveZKLock(l, setup, in, out)
	}
	s, err := session.Open(context.Background(), session.Options{Servers: setup.Servers, Dial: setup.Dial, Timeout: setup.Timeout})
	if err != nil {
		return err
	}
	defer s.Close()
	w := &worker{s: s}
	operations, does, err := w.recipe(setup)
	if err != nil {
		return err
	}
	w.does = does
	return client.Serve(in, out, operations, w.reply)
}

// A worker is a client that uses the packages of this module. It has one session, and ends when the
// session ends: with a new session, it would be another client.
type worker struct {
	s    *session.Session
	does map[string]operation
	held granted
}

// An operation carries out a request. If the reply has no type, the error decides the type.
type operation func(context.Context, client.Request) (client.Reply, error)

// The type `granted` is the grant that a worker holds. Its context ends with the grant.
type granted struct {
	context.Context
	node    string
	token   int64
	release func(context.Context) error
	// released is the cause with which the context ends after a release.
	released error
}

func (w *worker) reply(s *client.Server, r client.Request) client.Reply {
	do := w.does[r.Op]
	if do == nil {
		return client.Reply{Type: client.Fail, Error: "unknown operation"}
	}
	ctx, cancel := r.Context()
	defer cancel()
	before := w.held.Context
	reply, err := do(ctx, r)
	if reply.Type == "" {
		reply.Type = client.ReplyOf(err).Type
	}
	if err != nil {
		reply.Error, reply.Last = err.Error(), w.s.Err() != nil
	}
	if now := w.held; now.Context != nil && now.Context != before {
		context.AfterFunc(now, func() {
			if cause := context.Cause(now); !errors.Is(cause, now.released) {
				s.Lost(cause)
			}
		})
	}
	return reply
}

var errNothingHeld = errors.New("nothing is held")

// The method `acquires` returns an operation that calls `acquire` and stores the grant.
func (w *worker) acquires(acquire func(context.Context) (granted, error)) operation {
	return func(ctx context.Context, _ client.Request) (client.Reply, error) {
		g, err := acquire(ctx)
		if err != nil {
			return client.Reply{}, err
		}
		w.held = g
		return client.Reply{Token: g.token, Node: g.node}, nil
	}
}

func (w *worker) releases(ctx context.Context, _ client.Request) (client.Reply, error) {
	if w.held.release == nil {
		return client.Reply{Type: client.Fail}, errNothingHeld
	}
	return client.Reply{}, w.held.release(ctx)
}

// ofLock converts the result of a lock's method into a granted.
func ofLock(g *lock.Grant, err error) (granted, error) {
	if err != nil {
		return granted{}, err
	}
	return granted{g.Context(), g.Path(), int64(g.Token()), g.Unlock, lock.ErrReleased}, nil
}

func (w *worker) recipe(setup client.Setup) (names []string, does map[string]operation, err error) {
	names = setup.Recipe.Operations()
	locks := func(acquire func(context.Context) (*lock.Grant, error)) operation {
		return w.acquires(func(ctx context.Context) (granted, error) { return ofLock(acquire(ctx)) })
	}
	switch setup.Recipe {
	case client.RWLock:
		m := lock.NewRWMutex(w.s, setup.Path, lock.Options{})
		write := func(ctx context.Context) (*lock.Grant, error) {
			g, err := m.Lock(ctx)
			if err != nil {
				return nil, err
			}
			return &g.Grant, nil
		}
		return names, map[string]operation{client.OpAcquireRead: locks(m.RLock), client.OpAcquireWrite: locks(write), client.OpRelease: w.releases}, nil
	case client.Semaphore:
		m := lock.NewSemaphore(w.s, setup.Path, setup.Permits, lock.Options{})
		one := func(ctx context.Context) (*lock.Grant, error) { return m.Acquire(ctx, 1) }
		return names, map[string]operation{client.OpAcquirePermit: locks(one), client.OpRelease: w.releases}, nil
	case client.Election:
		e := election.New(w.s, setup.Path, election.Options{})
		return names, map[string]operation{client.OpResign: w.releases, client.OpCampaign: w.acquires(func(ctx context.Context) (granted, error) {
			t, err := e.Campaign(ctx)
			if err != nil {
				return granted{}, err
			}
			return granted{t.Context(), t.Path(), int64(t.Epoch()), t.Resign, election.ErrResigned}, nil
		})}, nil
	case client.Queue:
		return names, w.queue(setup, queue.Options[string]{}), nil
	case client.PriorityQueue:
		return names, w.queue(setup, queue.Options[string]{Priorities: priorities}), nil
	case client.Claims:
		return names, w.claims(setup), nil
	case client.Barrier:
		b := barrier.New(w.s, setup.Path)
		of := func(f func(context.Context) error) operation {
			return func(ctx context.Context, _ client.Request) (client.Reply, error) { return client.Reply{}, f(ctx) }
		}
		return names, map[string]operation{client.OpSet: of(b.Set), client.OpRemove: of(b.Remove), client.OpWait: of(b.Wait)}, nil
	case client.Group:
		return names, w.group(setup), nil
	case client.Counter:
		return names, w.counters(setup), nil
	}
	a, err := openAccount(setup.Recipe)
	does = map[string]operation{client.OpAcquire: locks(lock.NewMutex(w.s, setup.Path, lock.Options{}).Lock), client.OpRelease: w.releases}
	if a != nil {
		does[opRead], does[opWrite] = w.on(a), w.on(a)
	}
	return client.Lock.Operations(), does, err
}

// The method `on` returns an operation that uses an account under the grant that the worker holds.
func (w *worker) on(a *account) operation {
	return func(ctx context.Context, r client.Request) (client.Reply, error) {
		if w.held.Context == nil {
			return client.Reply{Type: client.Fail}, errNothingHeld
		}
		return a.reply(ctx, fence.Token(w.held.token), r), nil
	}
}

const priorities = 3

func (w *worker) queue(setup client.Setup, o queue.Options[string]) map[string]operation {
	q := queue.New(w.s, setup.Path, o)
	return map[string]operation{
		client.OpPut: func(ctx context.Context, r client.Request) (client.Reply, error) {
			return client.Reply{}, q.PutPriority(ctx, r.Priority, r.Value)
		},
		client.OpTake: func(ctx context.Context, r client.Request) (client.Reply, error) {
			take := q.Take
			if r.WaitMS != nil && *r.WaitMS == 0 {
				take, ctx = q.TryTake, context.WithoutCancel(ctx)
			}
			return ofItem(take(ctx))
		},
	}
}

// ofItem returns a reply with the value, or without one if the queue is empty.
func ofItem(value string, err error) (client.Reply, error) {
	if errors.Is(err, queue.ErrEmpty) {
		err = nil
	}
	return client.Reply{Value: value}, err
}

func (w *worker) claims(setup client.Setup) map[string]operation {
	q := queue.New(w.s, setup.Path, queue.Options[string]{})
	var claim *queue.Claim[string]
	return map[string]operation{
		client.OpPut: func(ctx context.Context, r client.Request) (client.Reply, error) {
			return client.Reply{}, q.Put(ctx, r.Value)
		},
		client.OpClaim: func(ctx context.Context, r client.Request) (client.Reply, error) {
			if r.WaitMS != nil && *r.WaitMS == 0 {
				ctx = context.WithoutCancel(ctx)
				if n, err := q.Len(ctx); err != nil || n == 0 {
					return client.Reply{}, err
				}
			}
			var err error
			if claim, err = q.Claim(ctx); err != nil {
				return client.Reply{}, err
			}
			w.held = granted{claim.Context(), "", int64(claim.Token()), claim.Release, queue.ErrNotClaimed}
			return client.Reply{Value: claim.Value(), Token: int64(claim.Token())}, nil
		},
		client.OpAck: func(ctx context.Context, _ client.Request) (client.Reply, error) {
			if claim == nil {
				return client.Reply{Type: client.Fail}, errNothingHeld
			}
			return client.Reply{}, claim.Ack(ctx)
		},
		client.OpRelease: w.releases,
	}
}

func (w *worker) group(setup client.Setup) map[string]operation {
	g := group.New(w.s, setup.Path)
	var m *group.Membership
	return map[string]operation{
		client.OpJoin: func(ctx context.Context, r client.Request) (_ client.Reply, err error) {
			m, err = g.Join(ctx, r.Value, nil)
			return client.Reply{}, err
		},
		client.OpLeave: func(ctx context.Context, _ client.Request) (client.Reply, error) {
			if m == nil {
				return client.Reply{Type: client.Fail}, errNothingHeld
			}
			return client.Reply{}, m.Leave(ctx)
		},
		client.OpMembers: func(ctx context.Context, r client.Request) (reply client.Reply, err error) {
			if r.Fresh {
				err = recipe.ReadBarrier(ctx, w.s, setup.Path)
			}
			if err != nil {
				return reply, err
			}
			members, err := g.Members(ctx)
			for _, m := range members {
				reply.Members = append(reply.Members, m.ID)
			}
			return reply, err
		},
	}
}

func (w *worker) counters(setup client.Setup) map[string]operation {
	open := make(map[string]*counter.Counter)
	named := func(name string) *counter.Counter {
		if open[name] == nil {
			open[name] = counter.New(w.s, znode.Join(setup.Path, name), counter.Options{})
		}
		return open[name]
	}
	number := func(value int64, err error) (client.Reply, error) {
		return client.Reply{Value: strconv.FormatInt(value, 10)}, err
	}
	return map[string]operation{
		client.OpAdd: func(ctx context.Context, r client.Request) (client.Reply, error) {
			delta, err := strconv.ParseInt(r.Value, 10, 64)
			if err != nil {
				return client.Reply{Type: client.Fail}, err
			}
			return number(named(r.Name).Add(ctx, delta))
		},
		client.OpGet: func(ctx context.Context, r client.Request) (client.Reply, error) {
			return number(named(r.Name).Get(ctx))
		},
	}
}
