package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/zkversion"
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
			if err := restart(ctx, env, n, healPatience, nil); err != nil {
				return harness.Injected{}, err
			}
		}
		return harness.Injected{Target: label(nodes), Evidence: fmt.Sprintf("%s restarted, one after another", label(nodes))}, nil
	},
}

// upgrading changes the version of one node after another, as rollingRestart restarts them. The ensemble starts as the version
// that it goes from. It stays what it has become.
func upgrading(name, from, to string) fault {
	return fault{
		name: name,
		does: fmt.Sprintf("every node is killed and started again as ZooKeeper %s in place of %s, one after another, the leader last", to, from),
		able: able[ensemble.Upgrader]("change the version of nodes", 3),
		configure: func(c *ensemble.Config) {
			c.Version = cmp.Or(c.Version, from)
			c.Later = append(c.Later, from, to)
		},
		draw: rollingRestart.draw,
		inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
			u, ok := env.Ensemble.(ensemble.Upgrader)
			if !ok {
				return harness.Injected{}, errors.New("the ensemble cannot change the version of nodes")
			}
			nodes, err := resolve(ctx, env, s.Target)
			if err != nil {
				return harness.Injected{}, err
			}
			nodes = slices.DeleteFunc(append(nodes[1:], nodes[0]), func(n int) bool { return u.Version(n) == to })
			if len(nodes) == 0 {
				return harness.Injected{}, errNobody
			}
			for i, n := range nodes {
				if err := restart(ctx, env, n, share(ctx, len(nodes)-i), func() error { return u.SetVersion(ctx, n, to) }); err != nil {
					return harness.Injected{}, err
				}
			}
			evidence, err := saysVersion(ctx, env, nodes, to)
			return harness.Injected{Target: label(nodes), Evidence: evidence}, err
		},
	}
}

// upgradePatience is the longest that the quorum is waited for before the next node: an operator looks before going on.
const upgradePatience = 30 * time.Second

// share is how long one of the n nodes that are still to be changed may take, so that all are before ctx ends.
func share(ctx context.Context, n int) time.Duration {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return upgradePatience
	}
	return min(upgradePatience, time.Until(deadline)/time.Duration(n+1))
}

// saysVersion makes the evidence of what nodes say themselves, those that serve.
func saysVersion(ctx context.Context, env *harness.Env, nodes []int, version string) (evidence string, err error) {
	var changed []int
	states := ensemble.Survey(ctx, env.Dial, env.Servers(), func(node int) bool { return slices.Contains(nodes, node) })
	for _, n := range nodes {
		switch {
		case states[n].Version == "": // It is down, or still looks for a leader.
		case zkversion.Is(states[n].Version, version):
			changed = append(changed, n)
		default:
			return "", fmt.Errorf("node %d was to be ZooKeeper %s, and says that it is %s", n, version, states[n].Version)
		}
	}
	if len(changed) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s became ZooKeeper %s, one after another", label(changed), version), nil
}

// restart kills a node, calls whileDown if that is not nil, starts it, and waits for the quorum as long as patience says. It leaves the node running
// also when it fails.
func restart(ctx context.Context, env *harness.Env, node int, patience time.Duration, whileDown func() error) error {
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
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = env.Ensemble.Ready(bounded)
	return ctx.Err()
}
