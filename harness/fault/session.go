package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/netfault"
)

// sessionFaults returns the faults that end a client's session.
func sessionFaults(s *standing, timeout time.Duration) []harness.Fault {
	return []harness.Fault{
		fault{
			name: "session-close", does: "a client's session is closed by a second connection with its id and password",
			exposes: true,
			draw:    func(r *rand.Rand, env *harness.Env) harness.Step { return harness.Step{Target: drawHolder(r, env)} },
			inject:  s.closeSession,
		},
		fault{
			name: "session-expire", does: "a client's proxy stalls for longer than its session timeout",
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				// The stall must be longer than the timeout, for two reasons. The ensemble counts
				// the timeout from the time at which it processes the client's last packet, which
				// may be after the start of the stall. And it rounds the end of the timeout up to
				// its next tick.
				return harness.Step{Target: drawHolder(r, env), For: between(r, timeout*3/2, timeout*2)}
			},
			inject: s.expireSession,
		},
	}
}

// The constant `holder` is the target that selects a client that holds something when the fault is
// injected. The loss of such a client's session has the largest effect.
const holder = "holder"

// drawHolder draws a target. Half of the time the target is the constant `holder`, and otherwise it
// is the name of a client.
func drawHolder(r *rand.Rand, env *harness.Env) string {
	client := drawClient(r, env)
	if r.IntN(2) == 0 {
		return holder
	}
	return client
}

// The constant `patience` is how long a fault waits for its preferred victim before it takes any
// client.
const patience = 2 * time.Second

// The method `await` waits up to healPatience for a client that the function `pick` accepts, and
// claims it. If the target is the constant `holder`, the client must also hold something. After the
// time `patience` this condition no longer applies.
func (s *standing) await(ctx context.Context, env *harness.Env, target string, pick func(*harness.Client) bool) (c *harness.Client, free func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, healPatience)
	defer cancel()
	began := time.Now()
	for {
		c, free, err = s.claim(env, number(target), func(c *harness.Client) bool {
			return pick(c) && (target != holder || c.Holding() || time.Since(began) > patience)
		})
		if err == nil {
			return c, free, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}

// claimSession waits for a client that has a session, and claims it. It ignores the sessions whose
// ids are in `over`.
func (s *standing) claimSession(ctx context.Context, env *harness.Env, target string, over ...int64) (c *harness.Client, info harness.SessionInfo, free func(), err error) {
	c, free, err = s.await(ctx, env, target, func(c *harness.Client) (has bool) {
		info, has = c.Session()
		return has && !slices.Contains(over, info.ID)
	})
	if err != nil && env.Recorder().Count(history.Session) == 0 {
		err = errors.New("no client has recorded a session: use Client.Open or Client.Opened")
	}
	return c, info, free, err
}

// closeSession closes a session from outside. A closed session cannot be healed, so the fault has
// no heal. It is possible that the session is already over, but its client has not noticed that. In
// this case closeSession chooses another client if one is available soon. If no server answers, the
// outcome is unknown: the session may be closed later.
func (s *standing) closeSession(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	c, info, free, err := s.claimSession(ctx, env, step.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for over := []int64(nil); ; {
		asked := false
		err = patiently(ctx, env, func(ctx context.Context, server string) error {
			err := netfault.CloseSession(ctx, env.Dial, server, info.ID, info.Password, info.Timeout)
			if asked && errors.Is(err, netfault.ErrNoSession) {
				return nil // The earlier close got no reply, but took effect.
			}
			asked = asked || errors.Is(err, netfault.ErrUnanswered)
			return err
		})
		free()
		injected := harness.Injected{Target: fmt.Sprintf("c%d", c.ID)}
		quicker := errors.Is(err, netfault.ErrNoSession)
		if err != nil && !quicker {
			return injected, err
		}
		env.SessionEnded(info.ID, true)
		if !quicker {
			injected.Evidence = fmt.Sprintf("session %#x closed", uint64(info.ID))
			return injected, nil
		}
		over = append(over, info.ID)
		if c, info, free, err = s.claimSession(soon, env, step.Target, over...); err != nil {
			return injected, nil
		}
	}
}

// holdTries is the maximum number of checks in the heal of a stalled session. Each check tries to
// resume the session, to find out whether the session is gone. If the session is still alive, the
// check restarts the session's timeout.
const holdTries = 3

// The type `stalled` is a client whose proxy stalls until its session is gone.
type stalled struct {
	client *harness.Client
	info   harness.SessionInfo
	free   func()
	long   *time.Timer
}

// The function `stall` stalls the proxy of a claimed client.
func stall(c *harness.Client, info harness.SessionInfo, free func()) stalled {
	c.Proxy().Stall()
	return stalled{c, info, free, time.NewTimer(info.Timeout * 3 / 2)}
}

// The method `end` resumes the proxy.
func (v stalled) end() {
	v.long.Stop()
	v.client.Proxy().Resume()
	v.free()
}

// The method `gone` checks up to holdTries times whether the session is gone. More than one check
// may be necessary: if a server is behind, it processes the client's earlier packets late, and
// counts the timeout from that moment.
func (v stalled) gone(ctx context.Context, env *harness.Env) (gone bool, err error) {
	for range holdTries {
		select {
		case <-v.long.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		err := anyServer(ctx, env, func(ctx context.Context, server string) (err error) {
			gone, err = netfault.Gone(ctx, env.Dial, server, v.info.ID, v.info.Password, v.info.Timeout)
			return err
		})
		if gone {
			env.SessionEnded(v.info.ID, false)
			return true, nil
		}
		if err != nil {
			break // If no server answers, there is no evidence. Waiting would delay the heals of other faults.
		}
		v.long.Reset(v.info.Timeout * 3 / 2)
	}
	return false, nil
}

// expireSession stalls a client's proxy until its session is gone.
func (s *standing) expireSession(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	c, info, free, err := s.claimSession(ctx, env, step.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	v := stall(c, info, free)
	return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Heal: func(ctx context.Context) (evidence string, err error) {
		defer v.end()
		gone, err := v.gone(ctx, env)
		if gone {
			evidence = fmt.Sprintf("session %#x expired", uint64(info.ID))
		}
		return evidence, err
	}}, nil
}

// stormChecks is the number of sessions that the heal of a storm checks concurrently. Servers limit
// the number of connections from one address.
const stormChecks = 16

// expiryStorm stalls all proxies together. When the fault is healed, all clients open new sessions
// at the same time.
func expiryStorm(s *standing, timeout time.Duration) harness.Fault {
	return fault{
		name: "expiry-storm", does: "all clients' proxies stall at once for longer than the session timeouts",
		apart: true,
		draw: func(r *rand.Rand, _ *harness.Env) harness.Step {
			return harness.Step{Target: all, For: between(r, timeout*3/2, timeout*2)}
		},
		inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
			var victims []stalled
			for {
				var info harness.SessionInfo
				c, free, err := s.claim(env, 0, func(c *harness.Client) (has bool) {
					info, has = c.Session()
					return has
				})
				if err != nil {
					break // the other clients have no session, or another fault uses them
				}
				victims = append(victims, stall(c, info, free))
			}
			if len(victims) == 0 {
				return harness.Injected{}, errNobody
			}
			return harness.Injected{Heal: func(ctx context.Context) (string, error) { return endStorm(ctx, env, victims) }}, nil
		},
	}
}

// endStorm resumes all proxies together, after the last of the sessions is gone.
func endStorm(ctx context.Context, env *harness.Env, victims []stalled) (evidence string, err error) {
	defer func() {
		for _, v := range victims {
			v.end()
		}
	}()
	var expired atomic.Int64
	var group errgroup.Group
	group.SetLimit(stormChecks)
	for _, v := range victims {
		group.Go(func() error {
			gone, err := v.gone(ctx, env)
			if gone {
				expired.Add(1)
			}
			return err
		})
	}
	err = group.Wait()
	return count(expired.Load(), fmt.Sprintf("of %d sessions expired", len(victims))), err
}

// anyServer calls f with one server after another until a server answers. Each server has two
// seconds to answer, because it may be paused.
func anyServer(ctx context.Context, env *harness.Env, f func(ctx context.Context, server string) error) error {
	var errs []error
	for _, server := range env.Servers() {
		bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := f(bounded, server)
		cancel()
		if err == nil || errors.Is(err, netfault.ErrNoSession) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// The function `patiently` repeats anyServer until a server answers, for at most healPatience. A
// single call does not always suffice, because a server does not serve immediately after its start.
func patiently(ctx context.Context, env *harness.Env, f func(ctx context.Context, server string) error) error {
	ctx, cancel := context.WithTimeout(ctx, healPatience)
	defer cancel()
	for {
		err := anyServer(ctx, env, f)
		if err == nil || errors.Is(err, netfault.ErrNoSession) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errNobody, err)
		}
	}
}
