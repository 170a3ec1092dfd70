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

// rollingNode is the approximate time to restart a real server and to restore the quorum.
const rollingNode = 3 * time.Second

// rollingRestart kills and starts one node after another, the leader last. After each node it waits
// for a quorum, for at most healPatience. Then it continues even without a quorum, like a careless
// operator. The fault has no time limit of its own; the duration of its steps is only an estimate
// for plans.
var rollingRestart = fault{
	name: "rolling-restart",
	does: "every node is killed and restarted, one after another, the leader last",
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

// The function `upgrading` changes the version of one node after another, in the order of
// rollingRestart. The ensemble starts with the old version, unless its configuration names another
// one. The nodes keep the new version afterwards.
func upgrading(name, from, to string) fault {
	return fault{
		name: name,
		does: fmt.Sprintf("every node is killed and restarted as ZooKeeper %s instead of %s, one after another, the leader last", to, from),
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

// upgradePatience is the longest time that an upgrade waits for the quorum after each node. It is
// long, because an operator changes the next node only when there is a quorum.
const upgradePatience = 30 * time.Second

// The function `share` returns the time limit for one of the n remaining nodes, so that all are
// changed before ctx ends.
func share(ctx context.Context, n int) time.Duration {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return upgradePatience
	}
	return min(upgradePatience, time.Until(deadline)/time.Duration(n+1))
}

// saysVersion returns the evidence: which of the nodes report the new version. A node that reports
// another version is an error, and a node that does not answer is left out.
func saysVersion(ctx context.Context, env *harness.Env, nodes []int, version string) (evidence string, err error) {
	var changed []int
	states := ensemble.Survey(ctx, env.Dial, env.Servers(), func(node int) bool { return slices.Contains(nodes, node) })
	for _, n := range nodes {
		switch {
		case states[n].Version == "": // It is down, or has no leader yet.
		case zkversion.Is(states[n].Version, version):
			changed = append(changed, n)
		default:
			return "", fmt.Errorf("node %d should run ZooKeeper %s, but reports version %s", n, version, states[n].Version)
		}
	}
	if len(changed) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s became ZooKeeper %s, one after another", label(changed), version), nil
}

// The function `restart` kills a node, calls `whileDown` if it is not nil, starts the node, and
// waits for the quorum, at most for the duration `patience`. It starts the node even if the kill or
// whileDown fails.
func restart(ctx context.Context, env *harness.Env, node int, patience time.Duration, whileDown func() error) error {
	killer := env.Ensemble.(ensemble.Killer)
	err := killer.Kill(ctx, node)
	if quiet := silent(ctx, env, []int{node}); err == nil && len(quiet) == 0 {
		err = fmt.Errorf("node %d still answers after it was killed", node)
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
