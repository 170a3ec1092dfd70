package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// decayFaults returns the faults in which the disk of a node returns other data than the node
// stored. The node may then refuse to start. In this case the heal wipes the node, as an operator
// would do. The wipe is safe as long as a majority of the other nodes has every write.
func decayFaults() (faults []harness.Fault) {
	const expect = "valid as long as no other fault is active; otherwise acknowledged writes may be lost"
	draw := func(arg func(*rand.Rand) string) func(*rand.Rand, *harness.Env) harness.Step {
		return func(r *rand.Rand, env *harness.Env) harness.Step {
			return harness.Step{Target: drawFollowerOrLeader(r, env), For: between(r, 500*time.Millisecond, 2*time.Second), Arg: arg(r)}
		}
	}
	for _, file := range []ensemble.StoredFile{ensemble.StoredLog, ensemble.StoredSnapshot} {
		faults = append(faults, fault{
			name: "bit-flip-" + string(file), does: fmt.Sprintf("a node is killed, one bit of its newest %s is flipped, and the node is restarted; if it does not serve, it is wiped", file),
			expect: expect, beyond: true,
			able: able[ensemble.Decayer]("flip bits of nodes' stored data", 3),
			draw: draw(func(r *rand.Rand) string { return strconv.FormatFloat(float64(r.IntN(1000))/1000, 'f', 3, 64) }),
			inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
				share, err := strconv.ParseFloat(s.Arg, 64)
				if err != nil || !(share >= 0 && share < 1) { // also for NaN
					return harness.Injected{}, fmt.Errorf("the position of the bit is %q: "+
						"must be a number from 0 to less than 1", s.Arg)
				}
				return decay(ctx, env, s, nil, func(ctx context.Context, e ensemble.Decayer, node int) (string, error) {
					return fmt.Sprintf("a bit of the newest %s flipped", file), e.FlipBit(ctx, node, file, share)
				})
			},
		})
	}
	return append(faults, fault{
		name: "old-data", does: "a node is killed, an older copy of its data is restored, and the node is restarted; if it does not serve, it is wiped",
		expect: expect, beyond: true,
		able: able[ensemble.Decayer]("restore old data of nodes", 3),
		draw: draw(func(*rand.Rand) string { return "" }),
		inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
			return decay(ctx, env, s, ensemble.Decayer.Save, func(ctx context.Context, e ensemble.Decayer, node int) (string, error) {
				return fmt.Sprintf("its data from %v earlier were restored", s.For), e.Restore(ctx, node)
			})
		},
	})
}

// rejoinPatience is how long the heal waits until a wiped node is part of the quorum again.
const rejoinPatience = 45 * time.Second

// The function `decay` kills a node. If `prepare` is nil, the node stays down until the heal.
// Otherwise `decay` calls `prepare` on the node's data and starts the node again. The heal kills
// the node if necessary, calls `spoil` to damage the node's data, and starts the node again. If the
// node then does not serve, the heal wipes it.
func decay(ctx context.Context, env *harness.Env, s harness.Step, prepare func(ensemble.Decayer, context.Context, int) error,
	spoil func(ctx context.Context, e ensemble.Decayer, node int) (what string, err error)) (harness.Injected, error) {
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	node, killer, disk := nodes[0], env.Ensemble.(ensemble.Killer), env.Ensemble.(ensemble.Decayer)
	err = killer.Kill(ctx, node)
	if err == nil && prepare != nil {
		err = errors.Join(prepare(disk, ctx, node), killer.Start(ctx, node))
	}
	if err != nil {
		return harness.Injected{}, errors.Join(err, killer.Start(context.WithoutCancel(ctx), node))
	}
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (string, error) {
		what, spoiled := "", error(nil)
		err := restart(ctx, env, node, 2*healPatience, func() error {
			what, spoiled = spoil(ctx, disk, node)
			return nil
		})
		switch {
		case err != nil:
			return "", err
		case errors.Is(spoiled, ensemble.ErrNothingStored):
			return "", nil
		case spoiled != nil:
			return "", spoiled
		}
		if status, err := ensemble.Ask(ctx, env.Dial, env.Servers()[node]); err == nil && status.Serves() {
			return what + ", and it served", nil
		}
		// The heal waits until the node serves again. Until then the node has no data, and a second
		// fault could lose acknowledged writes.
		return what + ", and it was wiped, because it did not serve", restart(ctx, env, node, rejoinPatience, func() error { return disk.Wipe(ctx, node) })
	}}, nil
}
