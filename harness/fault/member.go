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

// memberFaults returns the faults that change the role of a node in the ensemble's configuration
// while clients work. They use ZooKeeper's operation reconfig. The heal gives the node its old role
// again.
func memberFaults(st *standing) []harness.Fault {
	one := func(name, does string, role ensemble.Role, target func(*rand.Rand, *harness.Env) string, whileOut func(context.Context, *harness.Env, int) error) harness.Fault {
		return fault{
			name: name, does: does,
			able:      able[ensemble.Members]("change the members", 3),
			configure: func(c *ensemble.Config) { c.Members = true },
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: target(r, env), For: between(r, time.Second, 6*time.Second)}
			},
			inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
				return st.changeRole(ctx, env, s, role, whileOut)
			},
		}
	}
	return []harness.Fault{
		one("member-remove", "a follower or the leader is removed from the configuration, and added again", ensemble.Removed, drawFollowerOrLeader, nil),
		one("member-observe", "a follower or the leader becomes an observer, and a participant again", ensemble.Observer, drawFollowerOrLeader, nil),
		one("member-replace", "a follower is removed from the configuration and killed; an empty node takes its place", ensemble.Removed, drawFollower, startEmpty),
	}
}

// changeRole gives a node another role. If whileOut is not nil, the heal calls whileOut first. The
// heal then gives the node its old role: the role that the node had before the first of the active
// faults changed it.
func (st *standing) changeRole(ctx context.Context, env *harness.Env, s harness.Step, role ensemble.Role, whileOut func(context.Context, *harness.Env, int) error) (harness.Injected, error) {
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	node, members := nodes[0], env.Ensemble.(ensemble.Members)
	roles, _, err := members.Roles(ctx)
	if err != nil {
		return harness.Injected{}, err
	}
	before, end := st.change(env, node, roles[node])
	back := func(ctx context.Context) error {
		defer end()
		return members.SetRole(ctx, node, before)
	}
	if err := members.SetRole(ctx, node, role); err != nil {
		return harness.Injected{}, errors.Join(err, back(context.WithoutCancel(ctx)))
	}
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (evidence string, err error) {
		now, version, err := members.Roles(ctx)
		if err == nil && now[node] == role {
			evidence = fmt.Sprintf("%s %s in configuration %s", label(nodes), role, version)
		}
		if err == nil && whileOut != nil {
			err = whileOut(ctx, env, node)
		}
		return evidence, errors.Join(err, back(ctx))
	}}, nil
}

// startEmpty kills a node that is not a member, deletes its data, and starts it again.
func startEmpty(ctx context.Context, env *harness.Env, node int) error {
	killer := env.Ensemble.(ensemble.Killer)
	if err := killer.Kill(ctx, node); err != nil {
		return err
	}
	err := env.Ensemble.(ensemble.Wiper).Wipe(ctx, node)
	return errors.Join(err, killer.Start(ctx, node))
}
