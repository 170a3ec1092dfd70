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

// SessionTimeout is the session timeout that faults assume when they draw their durations, unless
// Options.SessionTimeout is set.
const SessionTimeout = 4 * time.Second

// Options adapt faults to a scenario.
type Options struct {
	// SessionTimeout is the timeout of the clients' sessions; zero means the constant
	// SessionTimeout. Faults that end a session stall the client's proxy for longer than this
	// timeout. Faults that the session survives stall the proxy for less.
	SessionTimeout time.Duration
}

// All returns the faults under which primitives must keep all their promises, and also
// session-close, under which holds may overlap. All does not return:
//
//   - the faults that break an assumption of primitives, such as wipe, bit-flip and timers-double;
//   - the families member, clock, disk, slow-sync and power-loss, and the faults rolling-upgrade
//     and rolling-downgrade, because nodes must be configured for them, and some of these
//     configurations make nodes slower;
//   - the faults of clients' own processes;
//   - expiry storms, because they stop all clients.
func (o Options) All() []harness.Fault { return slices.DeleteFunc(o.Every(), apart) }

// The function `apart` reports whether All leaves out a fault. Such a fault is drawn only if the
// user names the fault or its family.
func apart(f harness.Fault) bool {
	one, ours := f.(fault)
	return ours && (one.apart || one.beyond || one.configure != nil)
}

// Every returns all faults.
func (o Options) Every() []harness.Fault {
	t := o.SessionTimeout
	if t == 0 {
		t = SessionTimeout
	}
	s := &standing{cuts: map[key]int{}, busy: map[key]bool{}, roles: map[member]changed{}}
	var all []harness.Fault
	all = append(all, sessionFaults(s, t)...)
	all = append(all, expiryStorm(s, t))
	all = append(all, proxyFaults(s, t)...)
	all = append(all, clientPause(s, t), clientMemory(s, t), clientKill(s))
	all = append(all, killing.of(leader, follower, majority, "all")...)
	all = append(all, pausing.of(leader, follower, majority)...)
	all = append(all, rollingRestart, upgrading("rolling-upgrade", zkversion.Oldest, zkversion.Default),
		upgrading("rolling-downgrade", zkversion.Default, zkversion.Oldest))
	all = append(all, partitionFaults(s)...)
	all = append(all, packetLoss)
	all = append(all, edgeFaults()...)
	all = append(all, memberFaults(s)...)
	all = append(all, clockFaults()...)
	all = append(all, timerFaults()...)
	all = append(all, diskFaults()...)
	all = append(all, syncFaults()...)
	all = append(all, eraseFaults()...)
	all = append(all, decayFaults()...)
	all = append(all, dataFaults()...)
	return all
}

// Named returns the faults of a comma-separated list such as "session-close,partition,kill-leader",
// in the order of Every. A name in the list is the name of a fault or of a family. A family
// consists of all faults whose names begin with the family's name and a hyphen. The name "all"
// stands for the faults of All. An unknown name is an error that lists the valid names.
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
			return nil, fmt.Errorf("fault: unknown fault %q: the faults are %s", name, strings.Join(Names(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(f harness.Fault) bool { return !wanted[f.Name()] }), nil
}

// All calls Options.All for sessions whose timeout is SessionTimeout.
func All() []harness.Fault { return Options{}.All() }

// Every calls Options.Every for sessions whose timeout is SessionTimeout.
func Every() []harness.Fault { return Options{}.Every() }

// About describes a fault, and the result to expect if a scenario with locks runs under this fault.
// A fault of another package is described by its method Does() string, if it has one.
func About(f harness.Fault) (does, expect string) {
	if f, ok := f.(interface{ Does() string }); ok {
		return f.Does(), "valid"
	}
	one, _ := f.(fault)
	if one.exposes {
		one.expect += "the fenced resource stays correct; holds may overlap, which is reported as exposure"
	}
	return one.does, cmp.Or(one.expect, "valid")
}

// Exposing returns the names of the faults that break an assumption of leases. Holds may overlap
// under them.
func Exposing() []string { return namesOf(func(f fault) bool { return f.exposes }) }

// Deleting returns the names of the faults that delete znodes of clients.
func Deleting() []string { return namesOf(func(f fault) bool { return f.deletes }) }

func namesOf(of func(fault) bool) []string {
	return Names(slices.DeleteFunc(Every(), func(f harness.Fault) bool {
		one, ours := f.(fault)
		return !ours || !of(one)
	}))
}

// Named is Options.Named of the zero Options, whose session timeout is SessionTimeout.
func Named(list string) ([]harness.Fault, error) { return Options{}.Named(list) }

// Names returns the names of faults.
func Names(faults []harness.Fault) []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.Name())
	}
	return names
}

// Describe formats a plan with one line for each fault: start, duration, name, target and argument.
func Describe(plan harness.Plan) string {
	var b strings.Builder
	for _, s := range plan {
		fmt.Fprintf(&b, "%10v  %8v  %-18s %s %s\n", s.At.Round(time.Millisecond), s.For.Round(time.Millisecond), s.Fault, s.Target, s.Arg)
	}
	return b.String()
}

// The type `fault` is a harness.Fault made of functions.
type fault struct {
	name      string
	does      string
	expect    string                   // empty means "valid"; if exposes is set, About appends a text
	apart     bool                     // All leaves it out, because it stops all clients
	beyond    bool                     // All leaves it out, because it breaks an assumption of primitives, or affects a client's process
	exposes   bool                     // holds may overlap
	deletes   bool                     // deletes znodes of clients
	able      func(*harness.Env) error // nil if every ensemble supports it
	configure func(*ensemble.Config)   // nil if it needs no configuration
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

// Inject returns an error if the step has a wrong target or argument, or if the fault or the
// ensemble fails. The run is then Unknown, unless a property is violated. If the fault finds no
// target in time, for example because other faults use all clients, or if no server answers in
// time, Inject returns no evidence and no error. A later fault of the same name may still take
// effect.
func (f fault) Inject(ctx context.Context, e *harness.Env, s harness.Step) (harness.Injected, error) {
	w, err := f.inject(ctx, e, s)
	if errors.Is(err, errNobody) {
		return harness.Injected{Target: w.Target}, nil
	}
	return w, err
}

// errNobody reports that the fault found no target in time, or that no server answered in time.
var errNobody = errors.New("no target is available or answers")

// healPatience bounds each wait of a fault, unless another limit is defined for that wait. The
// nemesis performs one action at a time, so no other fault is healed while a fault waits.
const healPatience = 5 * time.Second

// The function `between` draws a duration in whole milliseconds, so that plans are easy to read.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Float64()*float64(high-low))).Round(time.Millisecond)
}

// The type `standing` records which edges and clients the faults of one set currently use, so that
// the heal of one fault does not undo another fault. It also records the role that each node had
// before the first of the active faults changed it. It does not track other states of nodes.
type standing struct {
	mu    sync.Mutex
	cuts  map[key]int  // number of faults that have cut an edge
	busy  map[key]bool // clients that a fault uses
	roles map[member]changed
}

// The type `member` identifies a node of one run.
type member struct {
	env  *harness.Env
	node int
}

// The type `changed` is the state of a node while faults that changed its role are active.
type changed struct {
	before ensemble.Role // before the first of them
	faults int
}

// The type `key` identifies an edge or a client of one run.
type key struct {
	env    *harness.Env
	link   ensemble.Edge
	client int
}

// The method `claim` chooses a client, and records that a fault uses the client. It chooses the
// first client that no fault uses and that the function `pick` accepts. The search starts at the
// client with the number `drawn`. The returned function frees the chosen client.
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
	return nil, nil, fmt.Errorf("no client is available: %w", errNobody)
}

// The method `cut` increments the count of each edge.
func (s *standing) cut(env *harness.Env, edges []ensemble.Edge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range edges {
		s.cuts[key{env: env, link: l}]++
	}
}

// The method `mend` decrements the count of each edge. It returns the edges that no fault cuts any
// longer.
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

// The method `change` records that one more fault changes the role of a node. The argument `now` is
// the node's role before this fault. The result `before` is the role that the node had before the
// first of the active faults changed it. The result `end` removes this fault from the record.
func (s *standing) change(env *harness.Env, node int, now ensemble.Role) (before ensemble.Role, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := member{env, node}
	c := s.roles[m]
	if c.faults == 0 {
		c.before = now
	}
	c.faults++
	s.roles[m] = c
	return c.before, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.roles[m]
		if c.faults--; c.faults == 0 {
			delete(s.roles, m)
			return
		}
		s.roles[m] = c
	}
}
