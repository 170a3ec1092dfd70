package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

// SessionTimeout is what the faults of sessions expect of clients' sessions when they draw how long they last, unless
// Options say otherwise.
const SessionTimeout = 4 * time.Second

// Options say what faults have to know of a scenario to be of use in it.
type Options struct {
	// SessionTimeout is the timeout of the clients' sessions; zero is SessionTimeout. A proxy is held for longer than it to
	// lose a session, and for less to keep it.
	SessionTimeout time.Duration
}

// All returns the faults under which primitives have to keep all their promises, and which any ensemble of their kind can do: not
// those of clocks and disks, which a node has to be made for and which slow it down.
func (o Options) All() []harness.Fault { return slices.DeleteFunc(o.Every(), apart) }

// apart reports whether a fault is drawn only where it is named.
func apart(f harness.Fault) bool {
	one, ours := f.(fault)
	return ours && (one.beyond || one.configure != nil)
}

// Every returns all faults that there are.
func (o Options) Every() []harness.Fault {
	t := o.SessionTimeout
	if t == 0 {
		t = SessionTimeout
	}
	s := &standing{cuts: map[key]int{}, busy: map[key]bool{}}
	var all []harness.Fault
	all = append(all, sessionFaults(s, t)...)
	all = append(all, proxyFaults(s, t)...)
	all = append(all, clientPause(s, t), clientKill(s))
	all = append(all, killing.of(leader, follower, majority, "all")...)
	all = append(all, pausing.of(leader, follower, majority)...)
	all = append(all, rollingRestart, upgrading("rolling-upgrade", zkversion.Oldest, zkversion.Default),
		upgrading("rolling-downgrade", zkversion.Default, zkversion.Oldest))
	all = append(all, partitionFaults(s)...)
	all = append(all, packetLoss)
	all = append(all, clockFaults()...)
	all = append(all, timerFaults()...)
	all = append(all, diskFaults()...)
	all = append(all, syncFaults()...)
	all = append(all, eraseFaults()...)
	all = append(all, decayFaults()...)
	all = append(all, dataFaults()...)
	return all
}

// Named returns the faults of a list such as "session-close,partition,kill-leader", in the order of Every. A name stands for the
// fault itself, or for all faults whose names begin with it and a dash; "all" for those of All. A name that stands for nothing is an
// error that tells the names there are.
func (o Options) Named(list string) ([]harness.Fault, error) {
	all := o.Every()
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		found := false
		for _, f := range all {
			if name == "all" && !apart(f) || f.Name() == name || strings.HasPrefix(f.Name(), name+"-") {
				wanted[f.Name()], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("fault: there is no fault %q: there are %s", name, strings.Join(Names(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(f harness.Fault) bool { return !wanted[f.Name()] }), nil
}

// All is Options.All, for sessions of SessionTimeout.
func All() []harness.Fault { return Options{}.All() }

// Every is Options.Every, for sessions of SessionTimeout.
func Every() []harness.Fault { return Options{}.Every() }

// Beyond reports whether a fault breaks what primitives assume: somebody deletes their znodes, a majority forgets what it
// acknowledged, clocks run wild.
func Beyond(f harness.Fault) bool {
	one, ours := f.(fault)
	return ours && one.beyond
}

// About says in words what a fault does, and what a scenario with locks has to give under it.
func About(f harness.Fault) (does, expect string) {
	one, _ := f.(fault)
	if one.exposes {
		one.expect += "the fenced resource stays right; holds may overlap, which is reported as exposure"
	}
	return one.does, cmp.Or(one.expect, "valid")
}

// Exposing names the faults that break an assumption of leases: holds may overlap under them.
func Exposing() []string { return namesOf(func(f fault) bool { return f.exposes }) }

// Deleting names the faults that delete znodes of clients.
func Deleting() []string { return namesOf(func(f fault) bool { return f.deletes }) }

func namesOf(of func(fault) bool) []string {
	return Names(slices.DeleteFunc(Every(), func(f harness.Fault) bool {
		one, ours := f.(fault)
		return !ours || !of(one)
	}))
}

// Named returns the faults of a list, for sessions of SessionTimeout: see Options.Named.
func Named(list string) ([]harness.Fault, error) { return Options{}.Named(list) }

// Names returns the names of faults.
func Names(faults []harness.Fault) []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.Name())
	}
	return names
}

// Describe returns a plan as text, a line a fault: when, for how long, what, on whom.
func Describe(plan harness.Plan) string {
	var b strings.Builder
	for _, s := range plan {
		fmt.Fprintf(&b, "%10v  %8v  %-18s %s %s\n", s.At.Round(time.Millisecond), s.For.Round(time.Millisecond), s.Fault, s.Target, s.Arg)
	}
	return b.String()
}

// fault is a harness.Fault made of functions.
type fault struct {
	name      string
	does      string
	expect    string // empty for "valid"; what exposes adds its own
	beyond    bool
	exposes   bool                     // holds may overlap
	deletes   bool                     // znodes of clients
	able      func(*harness.Env) error // nil if every ensemble will do
	configure func(*ensemble.Config)   // nil if any ensemble will do
	draw      func(*rand.Rand, *harness.Env) harness.Step
	inject    func(context.Context, *harness.Env, harness.Step) (harness.Injected, error)
}

func (f fault) Name() string  { return f.name }
func (f fault) Exposes() bool { return f.exposes }
func (f fault) Configure(c *ensemble.Config) {
	if f.configure != nil {
		f.configure(c)
	}
}
func (f fault) Able(env *harness.Env) error {
	if f.able == nil {
		return nil
	}
	return f.able(env)
}
func (f fault) Draw(r *rand.Rand, e *harness.Env) harness.Step { return f.draw(r, e) }

// Inject is an error only if something is wrong with the fault or the ensemble, and so with the run. One that finds nobody to hit, for
// all that stands already, is a wound without evidence: the next of its name may bite.
func (f fault) Inject(ctx context.Context, e *harness.Env, s harness.Step) (harness.Injected, error) {
	w, err := f.inject(ctx, e, s)
	if errors.Is(err, errNobody) {
		return harness.Injected{Target: w.Target}, nil
	}
	return w, err
}

// errNobody says that there was nobody to hit, or nobody that answered, for as long as healPatience.
var errNobody = errors.New("nobody is there to be hit")

// healPatience bounds what faults wait for. The nemesis does one thing at a time, and it may be another fault's heal that they
// wait for.
const healPatience = 5 * time.Second

// between draws a duration, in whole milliseconds so that plans are read with ease.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Float64()*float64(high-low))).Round(time.Millisecond)
}

// standing is which links and clients the faults of one set have at the moment, so that the heal of one leaves the others' work
// alone. Nodes are not counted.
type standing struct {
	mu   sync.Mutex
	cuts map[key]int  // links, by how many faults have cut them
	busy map[key]bool // clients' proxies that a fault has
}

// key is a proxy between nodes, or a client, of one run.
type key struct {
	env    *harness.Env
	link   ensemble.Edge
	client int
}

// claim takes the first client that pick accepts and no fault has, beginning with the one that was drawn. The returned
// function gives it back.
func (s *standing) claim(env *harness.Env, drawn int, pick func(*harness.Client) bool) (*harness.Client, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := env.Clients()
	for i := range clients {
		c := clients[(drawn+i)%len(clients)]
		k := key{env: env, client: c.ID}
		if s.busy[k] || !pick(c) {
			continue
		}
		s.busy[k] = true
		return c, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.busy, k)
		}, nil
	}
	return nil, nil, fmt.Errorf("no client is free for it: %w", errNobody)
}

// cut counts links as cut once more.
func (s *standing) cut(env *harness.Env, edges []ensemble.Edge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range edges {
		s.cuts[key{env: env, link: l}]++
	}
}

// mend counts links as cut once less, and returns those that no fault wants cut any more.
func (s *standing) mend(env *harness.Env, edges []ensemble.Edge) (free []ensemble.Edge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range edges {
		k := key{env: env, link: l}
		if s.cuts[k]--; s.cuts[k] <= 0 {
			delete(s.cuts, k)
			free = append(free, l)
		}
	}
	return free
}
