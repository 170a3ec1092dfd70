package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// pauseFaults stop servers as a long garbage collection does: their connections stay and they say nothing.
func pauseFaults() []harness.Fault {
	var faults []harness.Fault
	for _, role := range []string{leader, follower, majority} {
		faults = append(faults, fault{
			name: "pause-" + role,
			able: able[ensemble.Pauser]("pause nodes", nodesFor(role)),
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawRole(r, env, role), For: between(r, 500*time.Millisecond, 6*time.Second)}
			},
			inject: pause,
		})
	}
	return faults
}

func pause(ctx context.Context, env *harness.Env, s harness.Step) (harness.Wound, error) {
	pauser := env.Ensemble.(ensemble.Pauser)
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Wound{}, err
	}
	resume := func(ctx context.Context) error {
		return each(nodes, func(n int) error { return pauser.Resume(ctx, n) })
	}
	if err := each(nodes, func(n int) error { return pauser.Pause(ctx, n) }); err != nil {
		return harness.Wound{}, errors.Join(err, resume(context.WithoutCancel(ctx)))
	}
	paused := time.Now()
	return harness.Wound{Target: label(nodes), Heal: func(ctx context.Context) (bit string, err error) {
		if quiet := silent(ctx, env, nodes); len(quiet) > 0 {
			bit = fmt.Sprintf("%s silent for %v", label(quiet), time.Since(paused).Round(time.Millisecond))
		}
		return bit, resume(ctx)
	}}, nil
}
