package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/netfault"
)

// sessionFaults take a client's session away.
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
				// The ensemble rounds the timeout up to its next tick, and counts from the last thing that it heard.
				return harness.Step{Target: drawHolder(r, env), For: between(r, timeout*3/2, timeout*2)}
			},
			inject: s.expireSession,
		},
	}
}

// holder is the target that stands for whichever client holds something when the fault is injected: to lose a session hurts
// most then.
const holder = "holder"

// drawHolder is drawClient, with the holder half of the time.
func drawHolder(r *rand.Rand, env *harness.Env) string {
	client := drawClient(r, env)
	if r.IntN(2) == 0 {
		return holder
	}
	return client
}

// patience is for how long a fault waits for somebody to hold something, before it takes anybody.
const patience = 2 * time.Second

// await claims a client that pick accepts, and waits for one, but no longer than healPatience. If the target is whoever holds
// something, it takes anybody when it has waited long.
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

// claimSession claims a client that has a session, and waits for one if none has. Sessions in over are none.
func (s *standing) claimSession(ctx context.Context, env *harness.Env, target string, over ...int64) (c *harness.Client, info harness.SessionInfo, free func(), err error) {
	c, free, err = s.await(ctx, env, target, func(c *harness.Client) (has bool) {
		info, has = c.Session()
		return has && !slices.Contains(over, info.ID)
	})
	if err != nil && env.Recorder().Count(history.Session) == 0 {
		err = errors.New("no client has told of a session: Client.Open and Client.Opened do")
	}
	return c, info, free, err
}

// closeSession closes a session from outside; there is nothing to heal. Where somebody was quicker, and the client does not know
// it yet, it takes another if one is to be had soon. Where no server answers nobody knows: it may be closed later.
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
				return nil // The close before was not answered, and this is what it did.
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
			injected.Evidence = fmt.Sprintf("session %#x closed", info.ID)
			return injected, nil
		}
		over = append(over, info.ID)
		if c, info, free, err = s.claimSession(soon, env, step.Target, over...); err != nil {
			return injected, nil
		}
	}
}

// holdTries is how often the heal of a held session looks for it. Each look finds it gone, or keeps it alive for its timeout.
const holdTries = 3

// expireSession holds a client's proxy until its session is gone. The heal waits if that has not been long enough: a server that is
// behind with its work hears of what the client sent before late, and counts from there.
func (s *standing) expireSession(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
	c, info, free, err := s.claimSession(ctx, env, step.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	l := c.Proxy()
	l.Stall()
	long := time.NewTimer(info.Timeout * 3 / 2)
	return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Heal: func(ctx context.Context) (evidence string, err error) {
		defer free()
		defer l.Resume()
		defer long.Stop()
		for range holdTries {
			select {
			case <-long.C:
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
			gone := false
			err := anyServer(ctx, env, func(ctx context.Context, server string) (err error) {
				gone, err = netfault.Gone(ctx, env.Dial, server, info.ID, info.Password, info.Timeout)
				return err
			})
			if gone {
				env.SessionEnded(info.ID, false)
				return fmt.Sprintf("session %#x expired", info.ID), nil
			}
			if err != nil {
				break // Where no server answers there is no evidence, and to wait would keep other faults from being healed.
			}
			long.Reset(info.Timeout * 3 / 2)
		}
		return "", nil
	}}, nil
}

// anyServer calls f with one server after another until it has an answer. One that is paused has two seconds for it.
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

// patiently does as anyServer, again and again while none has an answer: a server that was started needs a while until it serves.
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
			return errors.Join(errNobody, err)
		}
	}
}
