package harness

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Fault is one way to break something and to heal it. Package fault has the implementations.
//
// Methods are called from one goroutine at a time. Several injections of one fault can be active at
// the same time.
type Fault interface {
	// Name is the name in plans, histories and flags, for example "session-close".
	Name() string
	// Able returns the reason why the fault cannot be injected in env, or nil if the fault can be
	// injected. The result depends only on the abilities of env, for example on the kind of its
	// ensemble and on the number of nodes. It never depends on the current state of env.
	Able(env *Env) error
	// Draw chooses a target and a length. It is a pure function of r and of the abilities of env,
	// so that one seed gives one plan. It sets Target, Arg and For of the step.
	Draw(r *rand.Rand, env *Env) Step
	// Inject injects the fault that s describes. If it returns an error, it must leave nothing
	// broken.
	Inject(ctx context.Context, env *Env, s Step) (Injected, error)
}

// Configurer is a Fault that needs a certain configuration of the ensemble, such as a small disk.
type Configurer interface {
	// Configure changes the configuration. It is called before the ensemble starts.
	Configure(c *ensemble.Config)
}

// Exposer is a Fault that may violate an assumption of leases.
type Exposer interface {
	// Exposes reports whether holds can overlap or outlive their znodes while the fault is active.
	Exposes() bool
}

// Injected is an active fault.
type Injected struct {
	// Target is the actual target if Step.Target is symbolic, such as "leader". If the field Target
	// is empty, Step.Target is the actual target.
	Target string
	// Heal heals the fault and returns the evidence that the fault had an effect, such as "312
	// packets dropped". The evidence is empty if the fault had no effect. Heal is called once. If
	// Heal fails, the run is Unknown, unless a property is violated. Heal is nil for a fault that
	// is over when Inject returns.
	Heal func(ctx context.Context) (evidence string, err error)
	// Evidence says how the effect of the fault was observed, if Heal is nil. It is empty if the
	// fault had no effect.
	Evidence string
}

// Step is one fault of a plan.
type Step struct {
	Fault  string        `json:"fault"`
	At     time.Duration `json:"at_ns"`  // after the start of the work
	For    time.Duration `json:"for_ns"` // from the injection to the heal; without a heal, about how long Inject takes, or zero
	Target string        `json:"target,omitempty"`
	Arg    string        `json:"arg,omitempty"`
}

// Plan is a sequence of faults in order of At. The faults may overlap. An empty plan injects
// nothing.
type Plan []Step

// The method `has` reports whether p has a step with the fault of that name.
func (p Plan) has(name string) bool {
	return slices.ContainsFunc(p, func(s Step) bool { return s.Fault == name })
}

// Draw draws a plan of the given length. It is a pure function of its arguments and of the
// abilities of env. It leaves out faults that env cannot inject. The argument `intensity` is the
// average number of faults that are active at any time; zero means 0.5.
func Draw(seed uint64, env *Env, faults []Fault, length time.Duration, intensity float64) Plan {
	if intensity <= 0 {
		intensity = 0.5
	}
	var able []Fault
	for _, f := range faults {
		if f.Able(env) == nil {
			able = append(able, f)
		}
	}
	if len(able) == 0 {
		return Plan{}
	}
	r := rand.New(rand.NewPCG(seed, 0x6e656d65736973)) // "nemesis"
	// Try each fault once, in random order, before any fault is repeated. So a short plan does not
	// miss a fault by chance.
	turns := r.Perm(len(able))
	var plan Plan
	for at, n := length/20, 0; at < length; n++ {
		f := able[r.IntN(len(able))]
		if n < len(turns) {
			f = able[turns[n]]
		}
		s := f.Draw(r, env)
		s.Fault, s.At = f.Name(), at.Round(time.Millisecond)
		// Do not add a fault that would still be active at the end of the plan, because that end
		// would cut the fault short. If this was the first turn of the fault, continue with the
		// next fault. Otherwise end the loop.
		if s.At+s.For > length && n < len(turns) {
			continue
		} else if s.At+s.For > length {
			break
		}
		plan = append(plan, s)
		gap := max(s.For, shortestGap)
		// Limit the gap to the length, because the sum might overflow if the intensity is tiny.
		at += time.Duration(min(float64(gap)/intensity*(0.5+r.Float64()), float64(length)))
	}
	return plan
}

// shortestGap has two uses:
//   - Draw computes the start of the next fault from the length of the previous one. If that length
//     is smaller than shortestGap, Draw takes shortestGap instead. For example, the fault
//     session-close has no length, because it is over immediately.
//   - The method `again` of the nemesis waits for shortestGap between two faults.
const shortestGap = 500 * time.Millisecond
