package scenarios

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// QueueClaims runs a queue under every fault. Clients claim items and work on them. Then a client
// releases its item, rejects it, or acknowledges it. The transaction of the acknowledgement also
// has an effect: it creates a znode for the item.
func QueueClaims() harness.Scenario {
	return harness.Scenario{
		Name:       "queue-claims",
		Claim:      "Under every fault an item has at most one claim at a time, is not lost, and takes effect once, together with its acknowledgement.",
		Guarantees: []string{"Q1", "Q2", "Q3", "Q6", "Q7", "Q8", "Q10", "Q11", "Q13", "S2"},
		Clients:    6,
		Workload:   claimsWorkload(claimsProgram{}),
		Faults:     faults("all"),
		Checkers: []checker.Checker{checker.QueueNothingInvented(),
			checker.QueueNothingLost(),
			checker.QueueNothingTwice(),
			checker.QueueTakersWake(10 * time.Second),
			checker.QueueDrainedIsEmpty(),
			checker.QueueAckWithEffect(),
			checker.LockNoOverlap(exposed()),
			checker.NothingLeft("znodes", "goroutines"),
			checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))},
		Guards: []checker.Checker{taken(100), readAhead(10), conflicts(1)},
		Calm:   10 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "ack-first",
			Report:   "Curator's DistributedQueue without a lock path: the item is deleted before it is processed, and lost if the processing fails",
			Violates: []string{"queue/ack-with-effect"},
			Faults:   []string{"session-close"},
			Workload: claimsWorkload(claimsProgram{ackFirst: true}),
		}, {
			Name:     "said-true",
			Report:   "kazoo's LockingQueue: consume() returns True although its transaction failed",
			Violates: []string{"queue/nothing-twice", "queue/ack-with-effect"},
			Faults:   []string{"session-expire"},
			Workload: claimsWorkload(claimsProgram{saidTrue: true}),
		}, {
			Name:     "deaf",
			Report:   "CURATOR-623, samuel#20: the consumer is not notified that its claim has ended",
			Violates: []string{"lock/no-overlap"},
			Faults:   []string{"session-expire"},
			Workload: claimsWorkload(claimsProgram{deaf: true}),
		}, {
			Name:     "late",
			Report:   "a release returns the item first, and ends the claim's context only when that is confirmed",
			Violates: []string{"lock/no-overlap"},
			Workload: claimsWorkload(claimsProgram{late: true}),
		}},
	}
}

// A claimsProgram describes the clients' behavior.
type claimsProgram struct {
	ackFirst bool // acknowledges an item before it creates the effect
	saidTrue bool // does not check whether the acknowledgement succeeded
	deaf     bool // ignores the claim's context
	late     bool // works until its release is confirmed
	// If `idle` is not nil, every client sleeps and then claims an item, again and again: see the
	// method `idleWork`.
	idle *nap
	with func(session.Options) session.Options // adapts the options of idle clients

	name    string // of the queue; empty means "queue"
	path    string
	effects string        // path of the directory with a znode for each acknowledged item
	names   *atomic.Int64 // number of the last value; all queues of a run share it; nil means that this queue has its own
}

func (p *claimsProgram) options() queue.Options[string] {
	if p.idle != nil {
		return queue.Options[string]{ClaimFor: idleTimeout, MaxAttempts: 20}
	}
	return queue.Options[string]{ClaimFor: sessionTimeout, MaxAttempts: 20}
}

// The method `session` returns the options of a client's next session.
func (p *claimsProgram) session(ctx context.Context, c *harness.Client) session.Options {
	if p.idle == nil {
		return leased()
	}
	p.idle.settle(c)
	return p.with(p.idle.options(ctx, c))
}

func claimsWorkload(p claimsProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := p
		p.name = cmp.Or(p.name, "queue")
		p.path, p.effects = znode.Join(env.Root(), p.name), znode.Join(env.Root(), p.name+"-effects")
		p.names = cmp.Or(p.names, new(atomic.Int64))
		return harness.Workload{
			Setup: func(ctx context.Context, env *harness.Env) error {
				return final(ctx, env, func(s *session.Session) error {
					_, err := s.Create(ctx, p.effects, nil, session.Persistent)
					return err
				})
			},
			Work: func(ctx context.Context, c *harness.Client) error {
				m := new(meter)
				return live(ctx, c, m.on(p.session(ctx, c)), func(s *session.Session) {
					if p.idle != nil {
						p.idleWork(ctx, c, s, m)
					} else if c.ID < 2 {
						q := ours{queue.New(s, p.path, p.options())}
						for c.Next(ctx) && s.Err() == nil {
							put := q.put
							if late := dueIn(c); late > 0 {
								put = func(ctx context.Context, _ int, value string) error {
									return q.q.PutAt(ctx, time.Now().Add(late), value)
								}
							}
							putOne(ctx, c, p.path, 0, p.names, put)
							c.Pause(ctx, upTo(400*time.Millisecond)(c))
						}
					} else {
						p.work(ctx, c, s, m)
					}
				})
			},
			Final: func(ctx context.Context, env *harness.Env) error {
				return final(ctx, env, func(s *session.Session) error { return p.final(ctx, env, s) })
			},
		}
	}
}

// dueIn returns the delay after which the next item of a client is due: zero, or up to 1.5 s. A
// delay lets several consumers wait for the item, and notice at the same time that it is due.
func dueIn(c *harness.Client) time.Duration {
	if c.Rand.IntN(3) > 0 {
		return 0
	}
	return upTo(1500 * time.Millisecond)(c)
}

// The method `work` claims one item after another, and at the end the remaining items.
func (p *claimsProgram) work(ctx context.Context, c *harness.Client, s *session.Session, m *meter) {
	q := queue.New(s, p.path, p.options())
	waiting, stop := lasting(ctx, c)
	defer stop()
	for s.Err() == nil && waiting.Err() == nil {
		p.claim(waiting, ctx, c, s, q, m)
	}
}

// The method `claim` claims an item and processes it. The context `waiting` limits only the wait
// for an item.
func (p *claimsProgram) claim(waiting, ctx context.Context, c *harness.Client, s *session.Session, q *queue.Queue[string], m *meter) {
	var claim *queue.Claim[string]
	_, err := c.Do(waiting, history.Event{Op: checker.OpClaim, Object: p.path}, m.metered(c, p.path, func(ctx context.Context) (e history.Event, err error) {
		if claim, err = q.Claim(ctx); err == nil {
			e.Result, e.Token = claim.Value(), int64(claim.Token())
		}
		return e, err
	}))
	if err == nil {
		p.process(ctx, c, s, claim)
	}
}

// idleWork repeats two steps: the client sleeps, and then it claims an item. If the client is the
// rival of an idle client and the queue is empty, it puts an item before it sleeps.
func (p *claimsProgram) idleWork(ctx context.Context, c *harness.Client, s *session.Session, m *meter) {
	q := queue.New(s, p.path, p.options())
	for c.Next(ctx) && s.Err() == nil {
		if n, err := q.Len(ctx); err == nil && n == 0 && !drowsy(c) {
			putOne(ctx, c, p.path, 0, p.names, openQueue(p.options())(s, p.path).put)
		}
		p.idle.sleep(ctx, c)
		waiting, cancel := context.WithTimeout(ctx, 2*idleTick)
		p.claim(waiting, ctx, c, s, q, m)
		cancel()
	}
}

// The method `process` works on an item for a planned time, or until the claim ends. It then
// acknowledges, releases or rejects the item. Sometimes the planned time is longer than the claim
// can last, so that the claim's context ends first.
func (p *claimsProgram) process(ctx context.Context, c *harness.Client, s *session.Session, claim *queue.Claim[string]) {
	standing, released := claim.Context(), func() {}
	switch {
	case p.deaf:
		standing = context.WithoutCancel(standing)
	case p.late:
		standing, released = outliving(standing, queue.ErrNotClaimed)
	}
	value := claim.Value()
	hold := c.Hold(standing, history.Event{Object: znode.Join(p.path, value), Token: int64(claim.Token())})
	if p.idle != nil {
		times.Sleep(standing, p.idle.hold(c))
	} else {
		times.Sleep(standing, usual(c))
	}
	stands := standing.Err() == nil
	if p.deaf {
		stands = hold.End()
	}
	end := func(op string, token queue.Token, f func(context.Context) error) {
		c.Do(ctx, history.Event{Op: op, Object: p.path, Arg: value, Token: int64(token)}, func(ctx context.Context) (e history.Event, err error) {
			return e, hold.Release(func() error { defer released(); return f(ctx) })
		})
	}
	switch choice := c.Rand.IntN(16); {
	case !stands && choice > 4:
	case choice < 2:
		end(checker.OpReturn, 0, claim.Release)
	case choice == 2:
		end("reject", 0, claim.Reject)
	default:
		end(checker.OpAck, claim.Token(), func(ctx context.Context) error { return p.ack(ctx, c, s, claim) })
	}
}

func (p *claimsProgram) ack(ctx context.Context, c *harness.Client, s *session.Session, claim *queue.Claim[string]) error {
	path := znode.Join(p.effects, claim.Value())
	switch {
	case p.ackFirst:
		err := claim.Ack(ctx)
		if err == nil {
			times.Sleep(ctx, usual(c))
			_, _ = s.Create(ctx, path, nil, session.Persistent)
		}
		return err
	case p.saidTrue:
		_ = claim.Ack(ctx, session.CreateOp{Path: path})
		return nil
	}
	return claim.Ack(ctx, session.CreateOp{Path: path})
}

// The method `final` takes the items left in the queue and among the dead letters, and reads the
// effects.
func (p *claimsProgram) final(ctx context.Context, env *harness.Env, s *session.Session) error {
	q := queue.New(s, p.path, p.options())
	if err := drain(ctx, env, p.path, ours{q}); err != nil {
		return err
	}
	if err := drain(ctx, env, p.path, ours{q.DeadLetters()}); err != nil {
		return err
	}
	listing, err := s.Children(ctx, p.effects)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	slices.Sort(listing.Names)
	for _, value := range listing.Names {
		env.Fact(checker.FactEffect, p.path, "", value)
	}
	return err
}
