package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// clockFaults returns the faults that set the wall clocks of servers. Sessions and leases do not
// depend on these clocks, because servers and clients measure timeouts by a monotonic clock. The
// deletion of znodes with a time to live and the times in a znode's stat do depend on these clocks.
func clockFaults() []harness.Fault {
	one := func(name, does string, arg func(*rand.Rand) string) harness.Fault {
		return fault{
			name: name, does: does,
			able:      able[ensemble.Clock]("set the clocks of nodes", 1),
			configure: func(c *ensemble.Config) { c.Clocks = true },
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: drawFollowerOrLeader(r, env), For: between(r, 3*time.Second, 8*time.Second), Arg: arg(r)}
			},
			inject: setClock,
		}
	}
	return []harness.Fault{
		one("clock-bump", "the wall clock of a node jumps an hour forward or backward, and is set right again", func(r *rand.Rand) string {
			return [...]string{"+1h", "-1h"}[r.IntN(2)]
		}),
		one("clock-rate", "the wall clock of a node runs twice as fast, or half as fast", func(r *rand.Rand) string {
			return [...]string{"x2", "x0.5"}[r.IntN(2)]
		}),
	}
}

// clockArg parses the Arg of a step: a duration to jump by, or x followed by a rate.
func clockArg(arg string) (offset time.Duration, rate float64, err error) {
	if r, is := strings.CutPrefix(arg, "x"); is {
		rate, err = rateOf(r)
		return 0, rate, err
	}
	if offset, err = time.ParseDuration(arg); err != nil {
		err = fmt.Errorf("argument %q: must be a duration such as +1h, or a rate such as x2", arg)
	}
	return offset, 1, err
}

// rateOf parses the rate of a clock or of timers.
func rateOf(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0.01 && rate <= 100) { // !(...), because no comparison with NaN is true
		return 0, fmt.Errorf("the rate is %q: must be a number from 0.01 to 100", text)
	}
	return rate, nil
}

func setClock(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	offset, rate, err := clockArg(s.Arg)
	if err != nil {
		return harness.Injected{}, err
	}
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	node, clock := nodes[0], env.Ensemble.(ensemble.Clock)
	if err := clock.SetClock(ctx, node, offset, rate); err != nil {
		return harness.Injected{}, errors.Join(err, clock.SetClock(context.WithoutCancel(ctx), node, 0, 1))
	}
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (evidence string, err error) {
		// A node that is down or paused cannot report its time. Then there is no evidence.
		if now, err := clock.Time(ctx, node); err == nil {
			if ahead := time.Until(now); ahead.Abs() > 500*time.Millisecond {
				evidence = fmt.Sprintf("%s was %+.1f s ahead", label(nodes), ahead.Seconds())
			}
		}
		return evidence, clock.SetClock(ctx, node, 0, 1)
	}}, nil
}

// timerFaults returns the faults that make the timers of servers run fast or slow. These timers
// also expire sessions.
func timerFaults() []harness.Fault {
	one := func(name, does string, wild bool, rates ...string) harness.Fault {
		return fault{
			name: name, does: does, beyond: wild, exposes: wild,
			able: able[ensemble.Timers]("change the rate of nodes' timers", 1),
			draw: func(r *rand.Rand, env *harness.Env) harness.Step {
				return harness.Step{Target: all, For: between(r, 4*time.Second, 12*time.Second), Arg: rates[r.IntN(len(rates))]}
			},
			inject: setTimers,
		}
	}
	return []harness.Fault{
		one("timers-drift", "the timers of all servers run 4 percent fast or slow", false, "1.04", "0.96"),
		one("timers-double", "the timers of all servers run twice as fast", true, "2"),
	}
}

func setTimers(ctx context.Context, env *harness.Env, s harness.Step) (harness.Injected, error) {
	rate, err := rateOf(s.Arg)
	if err != nil {
		return harness.Injected{}, err
	}
	nodes, err := resolve(ctx, env, s.Target)
	if err != nil {
		return harness.Injected{}, err
	}
	timers := env.Ensemble.(ensemble.Timers)
	set := func(ctx context.Context, rate float64) error {
		return each(nodes, func(n int) error { return timers.SetTimers(ctx, n, rate) })
	}
	if err := set(ctx, rate); err != nil {
		return harness.Injected{}, errors.Join(err, set(context.WithoutCancel(ctx), 1))
	}
	began := time.Now()
	return harness.Injected{Target: label(nodes), Heal: func(ctx context.Context) (string, error) {
		off := time.Duration(float64(time.Since(began)) * (rate - 1))
		return fmt.Sprintf("timers were off by %v at the end", off.Round(time.Millisecond)), set(ctx, 1)
	}}, nil
}
