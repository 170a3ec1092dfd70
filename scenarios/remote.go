package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
)

// This file lets clients in other languages take the place of zkcoord's queues, barriers, groups
// and counters.

// A remoteQueue uses a remote as a pipe.
type remoteQueue struct{ *remote }

func remotePipe(r *remote) pipe { return remoteQueue{r} }

func (q remoteQueue) put(ctx context.Context, priority int, value string) error {
	_, err := q.do(ctx, client.Request{Op: client.OpPut, Value: value, Priority: priority})
	return err
}

// takeTime is the longest time that a take waits. It is short, because a client in another language
// cannot be interrupted.
const takeTime = 2 * time.Second

func (q remoteQueue) take(ctx context.Context) (string, error) {
	value, err := q.within(ctx, takeTime)
	if err == nil && value == "" {
		err = harness.Failed(fmt.Errorf("no item within %v", takeTime))
	}
	return value, err
}

func (q remoteQueue) tryTake(ctx context.Context) (string, error) { return q.within(ctx, 0) }

func (q remoteQueue) within(ctx context.Context, d time.Duration) (string, error) {
	wait := d.Milliseconds()
	reply, err := q.do(ctx, client.Request{Op: client.OpTake, WaitMS: &wait})
	return reply.Value, err
}

// The method `count` returns zero, because the function `drain` calls it only after a take found
// the queue empty. The protocol has no operation that counts.
func (q remoteQueue) count(context.Context) (int, error) { return 0, nil }

// A remoteClaimer claims items.
type remoteClaimer struct{ *remote }

func (q remoteClaimer) claim(ctx context.Context, d time.Duration) (client.Reply, context.Context, error) {
	wait := d.Milliseconds()
	return q.grant(ctx, client.Request{Op: client.OpClaim, WaitMS: &wait})
}

// The method `finish` ends a claim, by OpAck or by OpRelease.
func (q remoteClaimer) finish(ctx context.Context, op string) error {
	_, err := q.do(ctx, client.Request{Op: op})
	return err
}

// remoteClaims is claimsWorkload with fewer operations: clients put items, and claim, acknowledge
// and release them.
func remoteClaims(f *fleet) func(*harness.Env) harness.Workload {
	claimers := supply[remoteClaimer]{fleet: f, apart: func(r *remote) remoteClaimer { return remoteClaimer{r} }}
	return func(env *harness.Env) harness.Workload {
		p := queueProgram{path: znode.Join(env.Root(), "queue"), names: new(atomic.Int64), priorities: 1}
		return harness.Workload{
			Work: func(ctx context.Context, c *harness.Client) error {
				q, life, end, err := claimers.enter(ctx, c, p.path)
				if err != nil {
					return err
				}
				defer end()
				if c.ID%2 == 0 {
					p.produce(ctx, c, remotePipe(q.remote), life)
				} else {
					waiting, stop := lasting(ctx, c)
					defer stop()
					for life.Err() == nil && waiting.Err() == nil {
						claimOne(ctx, c, q, p.path)
					}
				}
				if c.Next(ctx) {
					return life.Err()
				}
				return nil
			},
			Final: func(ctx context.Context, env *harness.Env) error {
				return claimers.last(ctx, env, p.path, func(q remoteClaimer) error {
					return drain(ctx, env, p.path, drainingClaims{remoteQueue(q), q})
				})
			},
		}
	}
}

// claimOne claims an item, works on it, and acknowledges it most of the time.
func claimOne(ctx context.Context, c *harness.Client, q remoteClaimer, path string) {
	var reply client.Reply
	var grant context.Context
	_, err := c.Do(ctx, history.Event{Op: checker.OpClaim, Object: path}, func(ctx context.Context) (e history.Event, err error) {
		if reply, grant, err = q.claim(ctx, takeTime); err == nil && reply.Value == "" {
			err = harness.Failed(fmt.Errorf("no item within %v", takeTime))
		}
		return history.Event{Result: reply.Value, Token: reply.Token}, err
	})
	if err != nil {
		// Without this pause, an immediate failure would repeat without end in virtual time.
		c.Pause(ctx, time.Millisecond)
		return
	}
	hold := c.Hold(grant, history.Event{Object: znode.Join(path, reply.Value), Token: reply.Token})
	times.Sleep(grant, usual(c))
	op, does := checker.OpAck, client.OpAck
	if stands := hold.End(); !stands || c.Rand.IntN(6) == 0 {
		op, does = checker.OpReturn, client.OpRelease
	}
	c.Do(ctx, history.Event{Op: op, Object: path, Arg: reply.Value, Token: reply.Token}, func(ctx context.Context) (e history.Event, err error) {
		return e, hold.Release(func() error { return q.finish(ctx, does) })
	})
}

// drainingClaims takes the remaining items: it claims each item and acknowledges it.
type drainingClaims struct {
	remoteQueue
	claimer remoteClaimer
}

func (q drainingClaims) tryTake(ctx context.Context) (string, error) {
	reply, _, err := q.claimer.claim(ctx, 0)
	if err != nil || reply.Value == "" {
		return "", err
	}
	return reply.Value, q.claimer.finish(ctx, client.OpAck)
}

// A remoteGate uses a remote as a barrier.
type remoteGate struct{ *remote }

func (g remoteGate) Set(ctx context.Context) error    { return g.op(ctx, client.OpSet) }
func (g remoteGate) Remove(ctx context.Context) error { return g.op(ctx, client.OpRemove) }
func (g remoteGate) Wait(ctx context.Context) error   { return g.op(ctx, client.OpWait) }

func (g remoteGate) op(ctx context.Context, op string) error {
	_, err := g.do(ctx, client.Request{Op: op})
	return err
}

// A remoteCircle uses a remote as a group.
type remoteCircle struct{ *remote }

func (g remoteCircle) join(ctx context.Context, id string) (member, error) {
	_, err := g.do(ctx, client.Request{Op: client.OpJoin, Value: id})
	return g, err
}

func (g remoteCircle) members(ctx context.Context, fresh bool) (string, error) {
	reply, err := g.do(ctx, client.Request{Op: client.OpMembers, Fresh: fresh})
	slices.Sort(reply.Members)
	return strings.Join(reply.Members, " "), err
}

var errNoOperation = fmt.Errorf("the client protocol has no such operation: %w",
	errors.ErrUnsupported)

// Update fails, because the protocol has no such operation.
func (g remoteCircle) Update(context.Context, []byte) error {
	return harness.Failed(errNoOperation)
}

func (g remoteCircle) Leave(ctx context.Context) error {
	_, err := g.do(ctx, client.Request{Op: client.OpLeave})
	return err
}

// A remoteTally is one of the counters of a remote client, identified by its name.
type remoteTally struct {
	*remote
	name string
}

func remoteCounters(r *remote) tallyOf {
	return func(n int) tally { return remoteTally{r, strconv.Itoa(n)} }
}

func (t remoteTally) number(ctx context.Context, q client.Request) (int64, error) {
	q.Name = t.name
	reply, err := t.do(ctx, q)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(reply.Value, 10, 64)
}

func (t remoteTally) add(ctx context.Context, delta int64) (int64, error) {
	return t.number(ctx, client.Request{Op: client.OpAdd, Value: strconv.FormatInt(delta, 10)})
}

func (t remoteTally) get(ctx context.Context) (int64, error) {
	return t.number(ctx, client.Request{Op: client.OpGet})
}

// set and swap fail, because the protocol has no such operations.
func (t remoteTally) set(context.Context, int64) error { return harness.Failed(errNoOperation) }
func (t remoteTally) swap(context.Context, int64, int64) (bool, error) {
	return false, harness.Failed(errNoOperation)
}

func (t remoteTally) close(context.Context) {}
