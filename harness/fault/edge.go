package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// edgeFaults returns the faults that slow down the connections between one node and the others, in
// both directions or in one. The order of packets is preserved.
func edgeFaults() []harness.Fault {
	one := func(name, does string, pace func(*rand.Rand) ensemble.Pace) harness.Fault {
		return fault{
			name: name, does: does,
			able: able[ensemble.Pacer]("slow the connections between nodes", 3),
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				p := pace(r)
				return harness.Step{
					Target: drawFollowerOrLeader(r, env), For: between(r, 2*time.Second, 8*time.Second),
					Arg: fmt.Sprintf("%s %v %v %d", [...]string{"both", "from", "to"}[r.IntN(3)], p.Delay, p.Jitter, p.Rate),
				}
			},
			inject: paceEdges,
		}
	}
	return []harness.Fault{
		one("edge-delay", "packets between one node and the others, in both directions or in one, are 20 to 200 ms late", func(r *rand.Rand) ensemble.Pace {
			return ensemble.Pace{Delay: between(r, 20*time.Millisecond, 200*time.Millisecond)}
		}),
		one("edge-jitter", "the same with a varying delay, between zero and a maximum of 100 to 400 ms", func(r *rand.Rand) ensemble.Pace {
			return ensemble.Pace{Jitter: between(r, 100*time.Millisecond, 400*time.Millisecond)}
		}),
		one("edge-rate", "one node and the others, in both directions or in one, send at most 2 to 20 KiB per second", func(r *rand.Rand) ensemble.Pace {
			return ensemble.Pace{Rate: 2<<10 + r.IntN(18<<10)}
		}),
	}
}

// paceArg parses the Arg of a step: the direction and the pace.
func paceArg(arg string) (direction string, p ensemble.Pace, err error) {
	var delay, jitter string
	_, err = fmt.Sscan(arg, &direction, &delay, &jitter, &p.Rate)
	if n := len(strings.Fields(arg)); err == nil && n != 4 {
		err = fmt.Errorf("it has %d words", n)
	}
	if err != nil {
		return "", ensemble.Pace{}, fmt.Errorf("argument %q: "+
			"want a direction, a delay, a jitter and a rate, such as \"both 20ms 0s 0\": %w",
			arg, err)
	}
	var errs [3]error
	p.Delay, errs[0] = time.ParseDuration(delay)
	p.Jitter, errs[1] = time.ParseDuration(jitter)
	if direction != "both" && direction != "from" && direction != "to" {
		errs[2] = fmt.Errorf("argument %q: the direction must be \"both\", \"from\" or \"to\"", arg)
	}
	if p.Delay < 0 || p.Jitter < 0 || p.Rate < 0 {
		errs[2] = errors.Join(errs[2], fmt.Errorf("argument %q: no number may be negative", arg))
	}
	return direction, p, errors.Join(errs[:]...)
}

func paceEdges(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	direction, pace, err := paceArg(s.Arg)
	if err != nil {
		return harness.Injected{}, err
	}
	node, nodes, err := order(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	var edges []ensemble.Edge
	for _, e := range around(node, nodes) {
		if direction == "both" || (direction == "from") == (e.From == node) {
			edges = append(edges, e)
		}
	}
	pacer := env.Ensemble.(ensemble.Pacer)
	before, _ := pacer.Paced(ctx)
	if err := pacer.SetPace(ctx, pace, edges...); err != nil {
		return harness.Injected{}, errors.Join(err, pacer.SetPace(context.WithoutCancel(ctx), ensemble.Pace{}, edges...))
	}
	return harness.Injected{Target: label([]int{node}), Heal: func(ctx context.Context) (string, error) {
		now, err := pacer.Paced(ctx)
		return count(now-before, "chunks were late"), errors.Join(err, pacer.SetPace(ctx, ensemble.Pace{}, edges...))
	}}, nil
}
