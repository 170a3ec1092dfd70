package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// eraseFaults returns the faults that kill a node, erase all its data or the end of its log, and
// let it join again. Such a fault is safe as long as a majority of the other nodes has every write.
// If a second fault is active at the same time, an acknowledged write may be lost.
func eraseFaults() []harness.Fault {
	one := func(name, does string, can func(*harness.Env) error, erase func(context.Context, ensemble.Ensemble, int) error) harness.Fault {
		return fault{
			name: name, does: "a node is killed, " + does + ", and joins again",
			expect: "valid as long as no other fault is active; otherwise acknowledged writes may be lost", beyond: true,
			able: can,
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawFollowerOrLeader(r, env), For: between(r, 500*time.Millisecond, 2*time.Second)}
			},
			inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
				nodes, err := resolve(ctx, env, s.Target)
				if err != nil {
					return harness.Injected{}, err
				}
				killer := env.Ensemble.(ensemble.Killer)
				if err := killer.Kill(ctx, nodes[0]); err != nil {
					return harness.Injected{}, errors.Join(err, killer.Start(context.WithoutCancel(ctx), nodes[0]))
				}
				return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (string, error) {
					// The heal of another fault may have started the node meanwhile. So the
					// function `restart` kills it again.
					err := restart(ctx, env, nodes[0], healPatience, func() error { return erase(ctx, env.Ensemble, nodes[0]) })
					if err != nil {
						return "", err
					}
					return fmt.Sprintf("%s %s", label(nodes), does), nil
				}}, nil
			},
		}
	}
	return []harness.Fault{
		one("wipe", "loses all its data", able[ensemble.Wiper]("wipe nodes", 3), func(ctx context.Context, e ensemble.Ensemble, n int) error {
			return e.(ensemble.Wiper).Wipe(ctx, n)
		}),
		one("truncate", "loses the end of its log", able[ensemble.Truncater]("truncate logs", 3), func(ctx context.Context, e ensemble.Ensemble, n int) error {
			return e.(ensemble.Truncater).Truncate(ctx, n)
		}),
	}
}
