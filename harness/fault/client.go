package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// ownProcess requires that clients run in separate processes.
func ownProcess(env *harness.Env) error {
	if !env.ClientProcesses {
		return errors.New("clients do not run in separate processes (give --client-processes, or set Options.ClientProcesses)")
	}
	return nil
}

// The function `victim` waits for a client that has a process of type P, and claims it. It prefers
// the client that the target names. It returns the client, its process, and a function that frees
// the client.
func victim[P harness.Process](ctx context.Context, s *standing, env *harness.Env, target string) (c *harness.Client, p P, free func(), err error) {
	has := func(c *harness.Client) (ok bool) {
		p, ok = c.Process().(P)
		return ok
	}
	c, free, err = s.await(ctx, env, target, has)
	if err != nil && !slices.ContainsFunc(env.Clients(), has) {
		err = errors.New("no client has a process now that supports this fault: a client gets one by Client.RunsIn")
	}
	return c, p, free, err
}

// clientKill kills a client's own process. The harness then starts the client again, in a new
// process with a new session. No process relies on the old grants any longer, so this fault does
// not make holds overlap.
func clientKill(s *standing) harness.Fault {
	return fault{
		name: "client-kill", does: "a client's own process (`--client-processes` or `--client`) is killed and started again",
		beyond: true,
		able:   ownProcess,
		draw: func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{Target: drawHolder(r, env)}
		},
		inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
			c, p, free, err := victim[harness.Process](ctx, s, env, step.Target)
			if err != nil {
				return harness.Injected{}, err
			}
			defer free()
			p.Kill()
			return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Evidence: "its process was killed"}, nil
		},
	}
}

// clientPause pauses a client's own process for longer than its session timeout. A paused process
// cannot be notified of a loss. When the process resumes, it trusts its old grants for a moment. So
// its holds may overlap with those of other clients.
func clientPause(s *standing, timeout time.Duration) harness.Fault {
	return fault{
		name: "client-pause", does: "a client's own process (`--client-processes` or `--client`) is paused for longer than its session timeout",
		beyond: true, exposes: true,
		able: ownProcess,
		draw: func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{Target: drawHolder(r, env), For: between(r, timeout*3/2, timeout*3)}
		},
		inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
			c, p, free, err := victim[harness.Process](ctx, s, env, step.Target)
			if err != nil {
				return harness.Injected{}, err
			}
			if err := p.Stop(ctx); err != nil {
				free()
				return harness.Injected{}, errors.Join(err, p.Continue())
			}
			stopped := time.Now()
			return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Heal: func(context.Context) (evidence string, err error) {
				defer free()
				if c.Process() == p {
					evidence = fmt.Sprintf("paused for %v", time.Since(stopped).Round(time.Millisecond))
				}
				return evidence, p.Continue()
			}}, nil
		},
	}
}

// limitsMemory reports whether this machine can limit the memory of a process.
var limitsMemory = sync.OnceValue(procs.AbleToLimitMemory)

// clientMemory stops a client's own process from getting more memory. This lasts longer than the
// client's session timeout. A thread that needs more memory waits. After a while, threads that
// depend on such a thread wait too. The kernel also refuses new threads and system calls that need
// memory, so the process may end.
func clientMemory(s *standing, timeout time.Duration) harness.Fault {
	return fault{
		name: "client-memory", does: "a client's own process (`--client-processes` or `--client`) gets no further memory (a cgroup limit) for longer than its session timeout",
		beyond: true, exposes: true,
		able: func(env *harness.Env) error { return errors.Join(ownProcess(env), limitsMemory()) },
		draw: func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{Target: drawHolder(r, env), For: between(r, timeout*3/2, timeout*3)}
		},
		inject: func(ctx context.Context, env *harness.Env, step harness.Step) (harness.Injected, error) {
			c, p, free, err := victim[harness.MemoryLimiter](ctx, s, env, step.Target)
			if err != nil {
				return harness.Injected{}, err
			}
			lift, err := p.LimitMemory()
			if err != nil {
				free()
				return harness.Injected{}, err
			}
			limited := time.Now()
			return harness.Injected{Target: fmt.Sprintf("c%d", c.ID), Heal: func(context.Context) (evidence string, err error) {
				defer free()
				ended := c.Process() != harness.Process(p)
				waits, err := lift()
				switch {
				case waits:
					evidence = fmt.Sprintf("waiting for memory, after a limit for %v", time.Since(limited).Round(time.Millisecond))
				case ended:
					evidence = "its process ended under the limit"
				}
				return evidence, err
			}}, nil
		},
	}
}
