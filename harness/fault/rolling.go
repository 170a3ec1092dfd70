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

// rollingNode is about how long it takes to restart a node and to have the quorum whole again, on real servers.
const rollingNode = 3 * time.Second

// rollingRestart kills and starts one node after another, the leader last, and waits a while for the quorum in between: what an
// operator does to change a version, with less care. It takes as long as it takes; the length of its steps is what plans allow
// for.
var rollingRestart = fault{
	name: "rolling-restart",
	does: "every node is killed and started again, one after another, the leader last",
	able: able[ensemble.Killer]("restart nodes", 3),
	draw: func(_ *rand.Rand, env *harness.Env) harness.Step {
		return harness.Step{Target: all, For: rollingNode * time.Duration(len(env.Servers()))}
	},
	inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
		nodes, err := resolve(ctx, env, s.Target)
		if err != nil {
			return harness.Injected{}, err
		}
		nodes = append(nodes[1:], nodes[0])
		for _, n := range nodes {
			if err := restart(ctx, env, n, nil); err != nil {
				return harness.Injected{}, err
			}
		}
		return harness.Injected{Target: label(nodes), Evidence: fmt.Sprintf("%s restarted, one after another", label(nodes))}, nil
	},
}

// restart kills a node, calls whileDown if that is not nil, starts it, and waits a while for the quorum. It leaves the node running
// also when it fails.
func restart(ctx context.Context, env *harness.Env, node int, whileDown func() error) error {
	killer := env.Ensemble.(ensemble.Killer)
	err := killer.Kill(ctx, node)
	if quiet := silent(ctx, env, []int{node}); err == nil && len(quiet) == 0 {
		err = fmt.Errorf("node %d was killed and answers", node)
	}
	if err == nil && whileDown != nil {
		err = whileDown()
	}
	if err := errors.Join(err, killer.Start(context.WithoutCancel(ctx), node)); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, healPatience)
	defer cancel()
	_ = env.Ensemble.Ready(bounded)
	return ctx.Err()
}
