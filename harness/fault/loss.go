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

// packetLoss loses some of the packets between one node and all others, in both directions. TCP
// retransmits them, so the fault only causes delay. The step's Arg is the fraction of lost packets.
var packetLoss = fault{
	name: "loss",
	does: "10 to 40 percent of the packets between one node and the others are lost",
	able: able[ensemble.Lossy]("lose packets", 3),
	draw: func(r *rand.Rand, env *harness.Env) harness.Step {
		return harness.Step{
			Target: drawFollowerOrLeader(r, env), For: between(r, 2*time.Second, 8*time.Second),
			Arg: strconv.FormatFloat(float64(10+r.IntN(31))/100, 'f', 2, 64),
		}
	},
	inject: func(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
		share, err := strconv.ParseFloat(s.Arg, 64)
		if err != nil || !(share > 0 && share <= 1) { // also for NaN
			return harness.Injected{}, fmt.Errorf("the share of lost packets is %q: "+
				"must be a number above 0 and at most 1", s.Arg)
		}
		lossy := env.Ensemble.(ensemble.Lossy)
		node, nodes, err := order(ctx, env, s.Target)
		if err != nil {
			return harness.Injected{}, err
		}
		edges := around(node, nodes)
		before, _ := lossy.Lost(ctx)
		if err := lossy.Lose(ctx, share, edges...); err != nil {
			return harness.Injected{}, errors.Join(err, lossy.Lose(context.WithoutCancel(ctx), 0, edges...))
		}
		return harness.Injected{Target: label([]int{node}), Heal: func(ctx context.Context) (string, error) {
			now, err := lossy.Lost(ctx)
			return count(now-before, "packets lost"), errors.Join(err, lossy.Lose(ctx, 0, edges...))
		}}, nil
	},
}

// drawFollowerOrLeader picks the leader half of the time.
func drawFollowerOrLeader(r *rand.Rand, env *harness.Env) string {
	f := drawFollower(r, env)
	if r.IntN(2) == 0 {
		return leader
	}
	return f
}
