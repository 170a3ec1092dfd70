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

// syncFaults returns the faults in which disks sync slowly, and the fault in which disks lose
// unsynced data. A server acknowledges a write only after it has synced the write. So an
// acknowledged write must not be lost under these faults.
func syncFaults() (faults []harness.Fault) {
	can := able[ensemble.Syncer]("slow the syncs of nodes", 3)
	for _, role := range []string{leader, follower} {
		faults = append(faults, fault{
			name: "slow-sync-" + role, does: "each fsync of " + map[string]string{leader: "the leader", follower: "a follower"}[role] + " takes 20 to 300 ms longer",
			able: can, configure: syncing,
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawRole(r, env, role), For: between(r, 2*time.Second, 6*time.Second), Arg: between(r, 20*time.Millisecond, 300*time.Millisecond).String()}
			},
			inject: slowSync,
		})
	}
	return append(faults, fault{
		name: "power-loss", does: "each node is killed, loses the data in its log that was not synced, and is restarted",
		able: can, configure: syncing,
		draw: func(r *rand.Rand, _ *harness.Env) harness.Step {
			return harness.Step{Target: all, For: between(r, 500*time.Millisecond, 2*time.Second)}
		},
		inject: losePower,
	})
}

func syncing(c *ensemble.Config) { c.Syncs = true }

func slowSync(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	by, err := time.ParseDuration(s.Arg)
	if err != nil || by <= 0 {
		return harness.Injected{}, fmt.Errorf("the delay of a sync is %q: "+
			"must be a duration above 0, such as 50ms", s.Arg)
	}
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	node, disk := nodes[0], env.Ensemble.(ensemble.Syncer)
	before, err := disk.SlowSyncs(ctx, node)
	if err != nil {
		return harness.Injected{}, err
	}
	if err := disk.SlowSync(ctx, node, by); err != nil {
		return harness.Injected{}, errors.Join(err, disk.SlowSync(context.WithoutCancel(ctx), node, 0))
	}
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (string, error) {
		now, err := disk.SlowSyncs(ctx, node)
		return count(now-before, "syncs took "+s.Arg+" longer"), errors.Join(err, disk.SlowSync(ctx, node, 0))
	}}, nil
}

// The constant `unsynced` is how long syncs are slow before the power loss, so that there is
// unsynced data to lose.
const unsynced = 300 * time.Millisecond

// losePower slows down the syncs of all nodes, so that they have unsynced data. Then it kills all
// nodes and removes the unsynced data. The heal starts the nodes.
func losePower(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	disk, killer := env.Ensemble.(ensemble.Syncer), env.Ensemble.(ensemble.Killer)
	lost := int64(0)
	lose := func() error {
		if err := each(nodes, func(n int) error { return disk.SlowSync(ctx, n, 10*unsynced) }); err != nil {
			return err
		}
		time.Sleep(unsynced) // the clients write meanwhile
		if err := each(nodes, func(n int) error { return killer.Kill(ctx, n) }); err != nil {
			return err
		}
		return each(nodes, func(n int) error {
			one, err := disk.LoseUnsynced(ctx, n)
			lost += one
			return err
		})
	}
	start := func(ctx context.Context) error {
		return each(nodes, func(n int) error { return errors.Join(disk.SlowSync(ctx, n, 0), killer.Start(ctx, n)) })
	}
	if err := lose(); err != nil {
		return harness.Injected{}, errors.Join(err, start(context.WithoutCancel(ctx)))
	}
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (string, error) {
		return count(lost, "unsynced bytes lost"), start(ctx)
	}}, nil
}
