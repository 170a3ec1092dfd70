package harness

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Fault is one way to break something and to mend it. Package fault has them.
//
// Methods may be called from one goroutine at a time; several wounds of one fault
// may stand at once.
type Fault interface {
	// Name is what plans, histories and flags call it: "session-close".
	Name() string
	// Able says why it cannot be done in env, or nil. It looks only at what env
	// is able to do, never at its present state.
	Able(env *Env) error
	// Draw picks a target and a length. It is a pure function of r and of what
	// env can do, so that one seed gives one plan. It sets Target, Arg and For.
	Draw(r *rand.Rand, env *Env) Step
	// Inject breaks what s names. With an error nothing may be left broken.
	Inject(ctx context.Context, env *Env, s Step) (Injected, error)
}

// Configurer is a Fault that needs something of the ensemble from its start, such
// as a small disk.
type Configurer interface {
	// Configure asks for it. It is called before the ensemble is started.
	Configure(c *ensemble.Config)
}

// Exposer is a Fault that may break an assumption of leases.
type Exposer interface {
	// Exposes reports whether holds may overlap, or outlive their znodes, while the fault stands.
	Exposes() bool
}

// Injected is a fault that stands.
type Injected struct {
	// Target is what was really hit, where Step.Target says "leader"; empty is
	// Step.Target.
	Target string
	// Heal mends it and returns the evidence that the fault had an effect ("312 packets
	// dropped", "session 0x1 is gone"), empty if nothing suffered from it. It is
	// called once; if it fails the run cannot be judged for liveness. Nil is for
	// what is over when Inject returns.
	Heal func(ctx context.Context) (evidence string, err error)
	// Evidence is the evidence where there is no Heal.
	Evidence string
}

// Step is one fault of a plan.
type Step struct {
	Fault  string        `json:"fault"`
	At     time.Duration `json:"at_ns"`  // after the start of the work
	For    time.Duration `json:"for_ns"` // until it is healed, or about how long it takes; zero is at once
	Target string        `json:"target,omitempty"`
	Arg    string        `json:"arg,omitempty"`
}

// Plan is a sequence of faults, in order of At. They may overlap. The plan without
// a step is the nemesis that does nothing.
type Plan []Step

// has reports whether a step of p is of the fault with that name.
func (p Plan) has(name string) bool {
	return slices.ContainsFunc(p, func(s Step) bool { return s.Fault == name })
}

// Draw makes a plan of the given length: a pure function of its arguments and of
// what env can do. Faults that env cannot do are left out. About intensity
// faults stand at any time; zero is 0.5.
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
	// The first faults go round in turn, so that a short run meets each of them.
	turns := r.Perm(len(able))
	var plan Plan
	for at, n := length/20, 0; at < length; n++ {
		f := able[r.IntN(len(able))]
		if n < len(turns) {
			f = able[turns[n]]
		}
		s := f.Draw(r, env)
		s.Fault, s.At = f.Name(), at.Round(time.Millisecond)
		// A fault that is cut short would hardly bite.
		if s.At+s.For > length && n < len(turns) {
			continue
		} else if s.At+s.For > length {
			break
		}
		plan = append(plan, s)
		gap := max(s.For, shortestGap)
		// Not later than the end: of a tiny intensity the sum might overflow.
		at += time.Duration(min(float64(gap)/intensity*(0.5+r.Float64()), float64(length)))
	}
	return plan
}

// shortestGap is the length that faults without one (a kill, a closed session)
// count as when the next is placed.
const shortestGap = 500 * time.Millisecond
