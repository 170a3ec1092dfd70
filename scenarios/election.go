package scenarios

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// Election runs an election under every fault. One client queries the leader, one observes, and the
// others are candidates. A leader reads the state of earlier leaders, writes a new state, and
// increments a fenced resource.
func Election() harness.Scenario {
	return harness.Scenario{
		Name:       "election",
		Claim:      "Under every fault one client at a time leads, sees the writes of earlier leaders and is observed, and there is a leader after the faults.",
		Guarantees: []string{"E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "S2"},
		Clients:    6,
		Workload:   electionWorkload(electionProgram{open: leased}),
		Faults:     faults("all"),
		Checkers: append(checker.Election(exposed(), 10*time.Second),
			checker.ElectionHeirSeesAll(),
			checker.ElectionObserversSeeLeaders(),
			checker.NothingLeft("znodes", "goroutines"),
			checker.WaitersServed(checker.OpCampaign, 30*time.Second),
			checker.IfExercised(checker.LockNoReleaseAfterLoss()),
			checker.IfExercised(checker.LockLossBeforeExpiry(exposed()))),
		Guards: []checker.Checker{checker.Grants(10), checker.Contention(5)},
		Calm:   15 * time.Second,
		Mutants: []harness.Mutant{{
			Name:     "trusting",
			Report:   "CURATOR-444, -620, -644, -653, druid#16411: two leaders, because one trusts its connection",
			Violates: []string{"election/no-overlap", "lock/loss-before-expiry"},
			Faults:   []string{"session-expire"},
			Workload: electionWorkload(electionProgram{open: trusting}),
		}, {
			Name:     "deaf",
			Report:   "libkv#156: the leader is not notified of the loss",
			Violates: []string{"election/no-overlap"},
			Faults:   []string{"session-expire"},
			Workload: electionWorkload(electionProgram{open: leased, deaf: true}),
		}, {
			Name:     "ghost",
			Report:   "Shopify/zk, CURATOR-45: a candidate that gives up waiting is elected later without noticing",
			Violates: []string{"client/waiters-served", "election/leader-after-heal"},
			Workload: electionWorkload(electionProgram{open: leased, ghost: true}),
		}, {
			Name:     "past",
			Report:   "Curator's getLeader and kazoo's contenders read from their own server, which may be cut off",
			Violates: []string{"election/observers-see-leaders"},
			Faults:   []string{"partition-one", "partition-clients"},
			Workload: electionWorkload(electionProgram{open: leased, past: true}),
		}, {
			Name:     "late",
			Report:   "a resigning leader deletes its znode first, and its context ends only when the delete is confirmed",
			Violates: []string{"election/no-overlap"},
			Workload: electionWorkload(electionProgram{open: leased, late: true}),
		}},
	}
}

// An electionProgram describes the clients' behavior.
type electionProgram struct {
	open func() session.Options
	// If `idle` is not nil, every client is a candidate that sleeps before it campaigns.
	idle *nap
	with func(session.Options) session.Options // adapts the options of idle clients

	deaf  bool // ignores the term's context
	ghost bool // leaves a campaign running after giving it up
	past  bool // no read barrier; half of the clients query the leader; terms are short
	late  bool // leads until its resignation is confirmed

	resource *harness.Resource
	path     string // of the election
	state    string // path of the znode that leaders write
}

func electionWorkload(p electionProgram) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		p := p
		p.resource = harness.NewResource("account")
		p.path, p.state = znode.Join(env.Root(), "election"), znode.Join(env.Root(), "state")
		return harness.Workload{
			Setup: func(ctx context.Context, env *harness.Env) error {
				s, err := session.Open(ctx, session.Options{Servers: env.Servers(), Dial: env.Dial})
				if err != nil {
					return err
				}
				defer s.Close()
				_, err = s.Create(ctx, p.state, nil, session.Persistent)
				return err
			},
			Work: func(ctx context.Context, c *harness.Client) error {
				return live(ctx, c, p.options(ctx, c), func(s *session.Session) {
					switch role := len(c.Env().Clients()) - c.ID; {
					case p.idle != nil || role > 2 && !p.past || role > 4:
						p.stand(ctx, c, s)
					case role == 1:
						p.observe(ctx, c, s)
					default:
						p.ask(ctx, c, s)
					}
				})
			},
		}
	}
}

// The method `options` returns the options of a client's next session.
func (p *electionProgram) options(ctx context.Context, c *harness.Client) session.Options {
	if p.idle == nil {
		return p.open()
	}
	p.idle.settle(c)
	return p.with(p.idle.options(ctx, c))
}

// The method `patience` returns how long a candidate campaigns. Zero means without a limit.
func (p *electionProgram) patience(c *harness.Client) time.Duration {
	if p.idle != nil {
		return 2 * idleTimeout
	}
	return often(6, 300*time.Millisecond)(c)
}

// The method `pause` returns how long a leader waits before its next write.
func (p *electionProgram) pause(c *harness.Client) time.Duration {
	switch {
	case p.idle != nil:
		return p.idle.hold(c)
	case p.past:
		return upTo(150 * time.Millisecond)(c)
	}
	return usual(c)
}

// The method `stand` runs a candidate in one session: it campaigns, leads, and campaigns again.
func (p *electionProgram) stand(ctx context.Context, c *harness.Client, s *session.Session) {
	var ghosts sync.WaitGroup
	defer ghosts.Wait()
	defer s.Close()
	candidate := election.New(s, p.path, election.Options{})
	for c.Next(ctx) && s.Err() == nil {
		if p.idle != nil {
			p.idle.sleep(ctx, c)
		}
		term, err := p.campaign(ctx, c, &ghosts, candidate)
		if err != nil {
			c.Pause(ctx, time.Millisecond) // lets virtual time pass: see lockProgram.round
			continue
		}
		p.lead(ctx, c, s, term)
	}
}

func (p *electionProgram) campaign(ctx context.Context, c *harness.Client, ghosts *sync.WaitGroup, candidate *election.Election) (term *election.Term, err error) {
	ctx, cancel := limited(ctx, p.patience(c))
	defer cancel()
	_, err = c.Do(ctx, history.Event{Op: checker.OpCampaign, Object: p.path}, func(ctx context.Context) (e history.Event, err error) {
		if term, err = p.wait(ctx, ghosts, candidate); err == nil {
			_, name := znode.Split(term.Path())
			e = history.Event{Token: int64(term.Epoch()), Node: name}
		}
		return e, err
	})
	return term, err
}

// The method `wait` calls Campaign. If p.ghost is set, the call continues in the background after
// ctx has ended.
func (p *electionProgram) wait(ctx context.Context, ghosts *sync.WaitGroup, candidate *election.Election) (*election.Term, error) {
	if !p.ghost {
		return candidate.Campaign(ctx)
	}
	elected := make(chan *election.Term, 1)
	failed := make(chan error, 1)
	ghosts.Go(func() {
		term, err := candidate.Campaign(context.WithoutCancel(ctx))
		if err != nil {
			failed <- err
			return
		}
		elected <- term
	})
	select {
	case term := <-elected:
		return term, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// The method `lead` serves one term from its beginning to its end.
func (p *electionProgram) lead(ctx context.Context, c *harness.Client, s *session.Session, term *election.Term) {
	epoch, leading := int64(term.Epoch()), term.Context()
	resign := term.Resign
	switch {
	case p.deaf:
		leading = context.WithoutCancel(leading)
	case p.late:
		var end func()
		leading, end = outliving(leading, election.ErrResigned)
		resign = func(ctx context.Context) error {
			defer end()
			return term.Resign(ctx)
		}
	}
	_, name := znode.Split(term.Path())
	hold := c.Hold(leading, history.Event{Object: p.path, Token: epoch, Node: name})
	c.Do(ctx, history.Event{Op: checker.OpInherit, Object: p.state, Token: epoch}, func(ctx context.Context) (e history.Event, err error) {
		value, err := s.Get(ctx, p.state)
		e.Result = string(value.Data)
		return e, err
	})
	value, err := p.resource.Read(c, epoch)
	for n := range 1 + c.Rand.IntN(3) {
		news := fmt.Sprintf("%x-%d", epoch, n)
		c.Do(ctx, history.Event{Op: checker.OpProclaim, Object: p.state, Token: epoch, Arg: news}, func(ctx context.Context) (e history.Event, err error) {
			_, err = term.Txn(ctx, session.SetOp{Path: p.state, Data: []byte(news), Version: session.AnyVersion})
			return e, err
		})
		times.Sleep(leading, p.pause(c))
	}
	if err == nil && leading.Err() == nil {
		_ = p.resource.Write(c, epoch, value+1)
	}
	if p.deaf {
		hold.End()
	}
	c.Do(ctx, history.Event{Op: checker.OpRelease, Object: p.path, Token: epoch}, func(ctx context.Context) (e history.Event, err error) {
		return e, hold.Release(func() error { return resign(ctx) })
	})
}

// The method `ask` runs a client that queries the leader repeatedly.
func (p *electionProgram) ask(ctx context.Context, c *harness.Client, s *session.Session) {
	for c.Next(ctx) && s.Err() == nil {
		op := history.Event{Op: checker.OpLeader, Object: p.path}
		if c.Rand.IntN(2) == 0 {
			op.Arg = checker.Present
		}
		c.Do(ctx, op, func(ctx context.Context) (e history.Event, err error) {
			if op.Arg == checker.Present && !p.past {
				err = recipe.ReadBarrier(ctx, s, p.path)
			}
			if err == nil {
				var leader election.Leader
				leader, err = election.New(s, p.path, election.Options{}).Leader(ctx)
				e.Token = int64(leader.Epoch)
			}
			return e, err
		})
		c.Pause(ctx, upTo(100*time.Millisecond)(c))
	}
}

// The method `observe` runs a client that follows the leader with Observe. At the end it compares
// the last leader that Observe reported with the result of Leader. It repeats this until both
// agree, or until ten seconds have passed.
func (p *electionProgram) observe(ctx context.Context, c *harness.Client, s *session.Session) {
	watching, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var last election.Leader
	// If `settling` is true, observed leaders are not recorded: the final operation is open, and a
	// client can have only one operation open.
	settling := false
	var stream sync.WaitGroup
	stream.Go(func() {
		for leader, err := range election.New(s, p.path, election.Options{}).Observe(watching) {
			if err != nil {
				return
			}
			mu.Lock()
			if last = leader; !settling {
				c.Do(watching, history.Event{Op: checker.OpLeader, Object: p.path}, func(context.Context) (history.Event, error) {
					return history.Event{Token: int64(leader.Epoch)}, nil
				})
			}
			mu.Unlock()
		}
	})
	for c.Next(ctx) && s.Err() == nil {
		c.Pause(ctx, 100*time.Millisecond)
	}
	mu.Lock()
	settling = true
	mu.Unlock()
	c.Do(ctx, history.Event{Op: checker.OpLeader, Object: p.path, Arg: checker.Settled}, func(ctx context.Context) (e history.Event, err error) {
		for end := time.Now().Add(10 * time.Second); ; {
			if err := recipe.ReadBarrier(ctx, s, p.path); err != nil {
				return e, err
			}
			leader, err := election.New(s, p.path, election.Options{}).Leader(ctx)
			mu.Lock()
			e.Token, e.Result = int64(last.Epoch), strconv.FormatInt(int64(leader.Epoch), 10)
			same := leader.Epoch == last.Epoch
			mu.Unlock()
			if err != nil || same || time.Now().After(end) {
				return e, err
			}
			times.Sleep(ctx, 20*time.Millisecond)
		}
	})
	stop()
	stream.Wait()
}
