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

// killFaults end servers with kill -9 and start them again on their data.
func killFaults() []harness.Fault {
	var faults []harness.Fault
	for _, role := range []string{leader, follower, majority, all} {
		faults = append(faults, fault{
			name: "kill-" + role,
			able: able[ensemble.Killer]("kill nodes", nodesFor(role)),
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawRole(r, env, role), For: between(r, 500*time.Millisecond, 4*time.Second)}
			},
			inject: kill,
		})
	}
	return faults
}

// nodesFor is how many nodes there have to be for a role to be worth hitting.
func nodesFor(role string) int {
	if role == leader || role == all {
		return 1
	}
	return 3
}

func drawRole(r *rand.Rand, env *harness.Env, role string) string {
	if role == follower {
		return drawFollower(r, env)
	}
	return role
}

func kill(ctx context.Context, env *harness.Env, s harness.Step) (harness.Wound, error) {
	killer := env.Ensemble.(ensemble.Killer)
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Wound{}, err
	}
	start := func(ctx context.Context) error {
		return each(nodes, func(n int) error { return killer.Start(ctx, n) })
	}
	if err := each(nodes, func(n int) error { return killer.Kill(ctx, n) }); err != nil {
		return harness.Wound{}, errors.Join(err, start(context.WithoutCancel(ctx)))
	}
	killed := time.Now()
	return harness.Wound{Target: label(nodes), Heal: func(ctx context.Context) (bit string, err error) {
		if quiet := silent(ctx, env, nodes); len(quiet) > 0 {
			bit = fmt.Sprintf("%s down for %v", label(quiet), time.Since(killed).Round(time.Millisecond))
		}
		return bit, start(ctx)
	}}, nil
}
