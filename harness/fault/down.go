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

// The type `outage` describes faults that take nodes down for a while.
type outage struct {
	name    string
	does    string
	able    func(role string) func(*harness.Env) error
	longest time.Duration
	stop    func(ctx context.Context, e ensemble.Ensemble, node int) error
	start   func(ctx context.Context, e ensemble.Ensemble, node int) error
}

// The outage `killing` ends servers with kill -9 and starts them again on their data.
var killing = outage{
	name: "kill", does: "killed with kill -9 and started again on its data", longest: 4 * time.Second,
	able:  func(role string) func(*harness.Env) error { return able[ensemble.Killer]("kill nodes", nodesFor(role)) },
	stop:  func(ctx context.Context, e ensemble.Ensemble, n int) error { return e.(ensemble.Killer).Kill(ctx, n) },
	start: func(ctx context.Context, e ensemble.Ensemble, n int) error { return e.(ensemble.Killer).Start(ctx, n) },
}

// The outage `pausing` pauses servers, like a long garbage collection: their connections stay open,
// but they do not answer.
var pausing = outage{
	name: "pause", does: "paused with its connections open, and resumed", longest: 6 * time.Second,
	able: func(role string) func(*harness.Env) error {
		return able[ensemble.Pauser]("pause nodes", nodesFor(role))
	},
	stop:  func(ctx context.Context, e ensemble.Ensemble, n int) error { return e.(ensemble.Pauser).Pause(ctx, n) },
	start: func(ctx context.Context, e ensemble.Ensemble, n int) error { return e.(ensemble.Pauser).Resume(ctx, n) },
}

// The method `of` returns the outage's faults, one for each role.
func (o outage) of(roles ...string) (faults []harness.Fault) {
	for _, role := range roles {
		faults = append(faults, fault{
			name: o.name + "-" + role, does: subject(role) + " " + o.does,
			able: o.able(role),
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawRole(r, env, role), For: between(r, 500*time.Millisecond, o.longest)}
			},
			inject: o.inject,
		})
	}
	return faults
}

func (o outage) inject(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	start := func(ctx context.Context) error {
		return each(nodes, func(n int) error { return o.start(ctx, env.Ensemble, n) })
	}
	if err := each(nodes, func(n int) error { return o.stop(ctx, env.Ensemble, n) }); err != nil {
		return harness.Injected{}, errors.Join(err, start(context.WithoutCancel(ctx)))
	}
	stopped := time.Now()
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (evidence string, err error) {
		if quiet := silent(ctx, env, nodes); len(quiet) > 0 {
			evidence = fmt.Sprintf("%s silent for %v", label(quiet), time.Since(stopped).Round(time.Millisecond))
		}
		return evidence, start(ctx)
	}}, nil
}

// nodesFor returns the minimum number of nodes for a role to be a useful target.
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

// The function `subject` returns a role as the subject of a sentence, in the singular.
func subject(role string) string {
	return map[string]string{
		leader: "the leader is", follower: "a follower is",
		majority: "each node of a majority that includes the leader is", all: "each node is",
	}[role]
}
