package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// A pipe is one client's handle on a queue in one session.
type pipe interface {
	put(ctx context.Context, priority int, value string) error
	take(ctx context.Context) (string, error)
	tryTake(ctx context.Context) (string, error) // "" if the queue is empty
	count(ctx context.Context) (int, error)      // number of items
}

// A pipeOf makes a client's pipe. The pipes of mutants have the bugs of other libraries.
type pipeOf func(s *session.Session, path string) pipe

// queueProgram is the workload of clients that put distinct values and of others that take them.
type queueProgram struct {
	pipes      supply[pipe]
	priorities int
	polls      bool // consumers poll instead of waiting for an item

	path  string
	names *atomic.Int64 // number of the last value that was put
	begun time.Time     // when the workload was created
}

func queueWorkload(p queueProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := p
		p.path, p.names, p.begun = znode.Join(env.Root(), "queue"), new(atomic.Int64), time.Now()
		return harness.Workload{
			Work: func(ctx context.Context, c *harness.Client) error {
				pipes := p.pipes
				pipes.meter = new(meter)
				q, life, end, err := pipes.enter(ctx, c, p.path)
				if err != nil {
					return err
				}
				defer end()
				if c.ID%2 == 0 {
					p.produce(ctx, c, q, life)
				} else {
					p.consume(ctx, c, q, life, pipes.meter)
				}
				if c.Next(ctx) {
					return life.Err()
				}
				return nil
			},
			Final: func(ctx context.Context, env *harness.Env) error {
				return p.pipes.last(ctx, env, p.path, func(q pipe) error { return drain(ctx, env, p.path, q) })
			},
		}
	}
}

// The method `produce` puts one value after another.
func (p *queueProgram) produce(ctx context.Context, c *harness.Client, q pipe, of life) {
	for c.Next(ctx) && of.Err() == nil {
		putOne(ctx, c, p.path, c.Rand.IntN(p.priorities), p.names, q.put)
		c.Pause(ctx, pace(c))
	}
}

// putOne puts a new value.
func putOne(ctx context.Context, c *harness.Client, path string, priority int, names *atomic.Int64, put func(context.Context, int, string) error) {
	value := fmt.Sprintf("v%d", names.Add(1))
	op := history.Event{Op: checker.OpPut, Object: path, Arg: value, Priority: int32(priority)}
	c.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) { return e, put(ctx, priority, value) })
}

// The function `pace` returns a pause that is mostly short, and sometimes long enough for the queue
// to become empty or to grow.
func pace(c *harness.Client) time.Duration {
	if c.Rand.IntN(20) == 0 {
		return upTo(time.Second)(c)
	}
	return upTo(300 * time.Millisecond)(c)
}

// The method `consume` takes one value after another, and at the end the remaining values. All
// consumers rest at the same time, again and again. During such a rest, values gather in the queue.
// After the rest, the consumers therefore read ahead and compete for the same values.
func (p *queueProgram) consume(ctx context.Context, c *harness.Client, q pipe, of life, m *meter) {
	waiting, stop := lasting(ctx, c)
	defer stop()
	for of.Err() == nil && waiting.Err() == nil {
		take := q.take
		if p.polls || c.Rand.IntN(3) == 0 {
			take = q.tryTake
		}
		_, _ = c.Do(waiting, history.Event{Op: checker.OpTake, Object: p.path}, m.metered(c, p.path, func(ctx context.Context) (e history.Event, err error) {
			e.Result, err = take(ctx)
			return e, err
		}))
		if p.polls {
			times.Sleep(waiting, 20*time.Millisecond) // not c.Pause, which returns at once after the end of the work
			continue
		}
		c.Pause(ctx, max(often(4, 100*time.Millisecond)(c), p.rest()))
	}
}

// The method `rest` returns how long the consumers still have to rest. They rest in the first of
// every eight seconds. In the other seven seconds, the result is negative.
func (p *queueProgram) rest() time.Duration {
	return time.Second - time.Since(p.begun)%(8*time.Second)
}

// The function `lasting` returns a context for calls that wait, for example for an item. The
// context ends five seconds after the end of the work, so no client waits longer than that.
func lasting(ctx context.Context, c *harness.Client) (context.Context, func()) {
	const enough = 5 * time.Second
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for c.Pause(ctx, time.Hour) {
		}
		times.Sleep(ctx, enough)
		cancel()
	})
	return ctx, func() { cancel(); watching.Wait() }
}

// The function `final` opens a session for the final reads, and calls f with it.
func final(ctx context.Context, env *harness.Env, f func(*session.Session) error) error {
	s, err := session.Open(ctx, session.Options{Servers: env.Servers(), Dial: env.Dial, Timeout: 5 * sessionTimeout})
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

// The function `drain` takes the remaining items, so that a lost item cannot be mistaken for one
// that is still in the queue. An item may still be claimed by a session that the servers have not
// expired yet. So `drain` waits up to ten seconds for the end of such claims.
func drain(ctx context.Context, env *harness.Env, path string, q pipe) error {
	const most = 10 * time.Second
	for end := time.Now().Add(most); ; {
		value, err := lastTake(env, path, func() (string, error) { return q.tryTake(ctx) })
		if err != nil {
			return err
		}
		if value != "" {
			continue
		}
		left, err := q.count(ctx)
		if err != nil {
			return err
		}
		if left == 0 || time.Now().After(end) {
			env.Fact(history.FactLeft, "items", strconv.Itoa(left), "")
			return nil
		}
		times.Sleep(ctx, 100*time.Millisecond)
	}
}

// lastTake calls `take` for the final reads and records the call.
func lastTake(env *harness.Env, path string, take func() (string, error)) (string, error) {
	e := history.Event{Kind: history.Invoke, Op: checker.OpTake, Object: path, Client: history.Nobody, Process: history.Nobody}
	env.Recorder().Record(e)
	value, err := take()
	e.Kind, e.Result = history.OK, value
	if err != nil {
		e.Kind, e.Error = history.Info, err.Error()
	}
	env.Recorder().Record(e)
	return value, err
}

// The type `ours` uses a queue.Queue as a pipe.
type ours struct{ q *queue.Queue[string] }

func openQueue(o queue.Options[string]) pipeOf {
	return func(s *session.Session, path string) pipe { return ours{queue.New(s, path, o)} }
}

func (o ours) put(ctx context.Context, priority int, value string) error {
	return o.q.PutPriority(ctx, priority, value)
}
func (o ours) take(ctx context.Context) (string, error) { return o.q.Take(ctx) }
func (o ours) count(ctx context.Context) (int, error)   { return o.q.Len(ctx) }

func (o ours) tryTake(ctx context.Context) (string, error) {
	value, err := o.q.TryTake(ctx)
	if errors.Is(err, queue.ErrEmpty) {
		return "", nil
	}
	return value, err
}

// The function `taken` requires that n values were taken.
func taken(n int) checker.Checker {
	return checker.AtLeast("run/values-taken", n, "values taken", func(h *history.History) (found int) {
		ops, _ := h.Operations()
		for _, o := range ops {
			if op := o.Invoke.Op; (op == checker.OpTake || op == checker.OpClaim) && o.Outcome() == session.OK && o.Complete.Result != "" {
				found++
			}
		}
		return found
	})
}
