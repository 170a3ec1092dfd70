package scenarios

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// expirySlack is the allowed time between the end of a session's timeout and the expiry of the
// session. A new leader gives each session a whole timeout again, and faults of servers last for
// seconds.
const expirySlack = 20 * time.Second

// Sessions judges the servers themselves: ephemeral znodes must exist as long as their sessions.
func Sessions() harness.Scenario {
	return harness.Scenario{
		Name:     "sessions",
		Claim:    "Under every fault an ephemeral znode lives as long as its session, which expires in time and for good.",
		Clients:  5,
		Workload: sessionsWorkload(recipe.ReadBarrier),
		Faults:   faults("session,kill-leader,pause-leader,partition-one,partition-leader,partition-clients"),
		Checkers: append(sessionCheckers(), checker.NothingLeft("znodes", "goroutines")),
		Mutants: []harness.Mutant{{
			Name:     "no-barrier",
			Report:   "a client believes its own server about an ephemeral znode, and that server may be cut off",
			Violates: []string{"session/ephemerals-go", "session/ephemerals-stay"},
			Faults:   []string{"partition-one", "partition-clients"},
			Workload: sessionsWorkload(func(context.Context, *session.Session, string) error { return nil }),
		}},
	}
}

// sessionCheckers returns the checkers of sessions. The properties of these checkers are optional,
// because a run in which no session expires does not exercise all of them.
func sessionCheckers() []checker.Checker {
	var all []checker.Checker
	for _, c := range checker.Sessions(expirySlack, expirySlack) {
		all = append(all, checker.IfExercised(c))
	}
	return all
}

// The type `known` collects the ephemeral znodes of a run and the sessions of its clients.
type known struct {
	mu       sync.Mutex
	paths    []string
	sessions []harness.SessionInfo
}

func (k *known) add(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paths = append(k.paths, path)
}

// The method `any` returns one of the last paths, chosen at random, or "" if there is none.
func (k *known) any(c *harness.Client) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	const recent = 60
	last := k.paths[max(0, len(k.paths)-recent):]
	if len(last) == 0 {
		return ""
	}
	return last[c.Rand.IntN(len(last))]
}

func sessionsWorkload(barrier func(ctx context.Context, s *session.Session, path string) error) func(*harness.Env) harness.Workload {
	return func(env *harness.Env) harness.Workload {
		var k known
		return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
			return live(ctx, c, leased(), func(s *session.Session) {
				k.mu.Lock()
				k.sessions = append(k.sessions, harness.SessionInfo{ID: s.ID(), Password: s.Password(), Timeout: s.Timeout()})
				k.mu.Unlock()
				for n := 0; c.Next(ctx) && s.Err() == nil; n++ {
					switch c.Rand.IntN(8) {
					case 0:
						path := znode.Join(env.Root(), fmt.Sprintf("%x-%d", s.ID(), n))
						k.add(path)
						c.Do(ctx, history.Event{Op: checker.OpEphemeral, Object: path}, func(ctx context.Context) (e history.Event, err error) {
							_, err = s.Create(ctx, path, nil, session.Ephemeral)
							return e, err
						})
					case 1, 2:
						present(ctx, c, s, k.any(c), "", nil)
					default:
						present(ctx, c, s, k.any(c), "sync", barrier)
					}
					c.Pause(ctx, upTo(80*time.Millisecond)(c))
				}
			})
		}, Final: func(ctx context.Context, env *harness.Env) error { return resumeAll(ctx, env, k.sessions) }}
	}
}

func present(ctx context.Context, c *harness.Client, s *session.Session, path, arg string,
	before func(ctx context.Context, s *session.Session, path string) error) {
	if path == "" {
		return
	}
	c.Do(ctx, history.Event{Op: checker.OpPresent, Object: path, Arg: arg}, func(ctx context.Context) (e history.Event, err error) {
		if before != nil {
			if err := before(ctx, s, path); err != nil {
				return e, err
			}
		}
		stat, err := s.Exists(ctx, path)
		if e.Node = s.Server(); err == nil && stat != nil {
			e.Result = fmt.Sprintf("%#x", uint64(stat.EphemeralOwner))
		}
		return e, err
	})
}

// After all servers work again, resumeAll tries to resume each session whose end was observed. It
// also resumes a living session, to show that a resume can succeed.
func resumeAll(ctx context.Context, env *harness.Env, all []harness.SessionInfo) error {
	ended := make(map[int64]bool)
	for _, e := range env.Recorder().History().Events {
		if e.Kind == history.Session && e.Op == history.SessionExpired {
			ended[e.Session] = true
		}
	}
	c := env.Clients()[0]
	for i, one := range all {
		if ended[one.ID] {
			resume(ctx, c, env.Servers()[i%len(env.Servers())], one)
		}
	}
	return final(ctx, env, func(s *session.Session) error {
		resume(ctx, c, env.Servers()[0], harness.SessionInfo{ID: s.ID(), Password: s.Password(), Timeout: s.Timeout()})
		return nil
	})
}

func resume(ctx context.Context, c *harness.Client, server string, one harness.SessionInfo) {
	id := fmt.Sprintf("%#x", uint64(one.ID))
	c.Do(ctx, history.Event{Op: checker.OpResume, Arg: id}, func(ctx context.Context) (e history.Event, err error) {
		e.Node = server
		gone, err := netfault.Gone(ctx, c.Env().Dial, server, one.ID, one.Password, one.Timeout)
		if err == nil && gone {
			err = harness.Failed(fmt.Errorf("%s refused to resume the session", server))
		}
		return e, err
	})
}
