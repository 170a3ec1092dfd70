package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/external"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/internal/zkversion"
	"github.com/zkcoord/zkcoord/scenarios"
	"github.com/zkcoord/zkcoord/session"
)

// runFlags are the flags of zkcoord run.
type runFlags struct {
	ensemble  string
	zookeeper string
	servers   []string
	compose   string
	auth      authFlags
	tls       tlsFlags
	matrix    bool
	together  bool
	eachFault bool
	markdown  bool
	processes bool
	nodes     int
	regions   []int
	distance  time.Duration
	clients   int
	time      time.Duration
	timeGiven bool
	seed      uint64
	faults    []string
	plan      string
	intensity float64
	mutant    string
	client    string
	virtual   bool
	store     string
	txnLogs   string
	shrink    time.Duration

	operations   int
	keepEnsemble bool
}

const standardTime = 20 * time.Second

// These are the limits of a run. The plan of a run far beyond these limits would use all memory of
// the machine.
const (
	mostTime      = 7 * 24 * time.Hour
	mostClients   = 1000
	mostIntensity = 100
)

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCENARIO...",
		Short: "Run scenarios on an ensemble and judge the histories",
		Long: `Start an ensemble and run scenarios on it. The scenario's clients work while a nemesis injects faults from a plan, which
depends on the seed. Then heal all faults, judge the history, and write a report to the store. "all" runs every scenario, or
with --virtual every scenario that needs no other process.

The embedded ensemble is a model of ZooKeeper in this process. A container ensemble runs real servers and needs Docker.
A process ensemble runs real servers in local JVMs and needs ZooKeeper's jars. An external ensemble is an existing one,
given by its addresses. If a docker-compose file runs it on this machine, its servers can be broken too.

With --client, clients are programs in any language that use the protocol of docs/client-protocol.md. "zkcoord client
example" prints examples, and "zkcoord client check" tests a client. With --client, "all" means every scenario that has
a protocol.

Some scenarios also run Curator or kazoo. ZKCOORD_CURATOR (5.4.0 or 5.7.1) and ZKCOORD_KAZOO (2.8.0, 2.9.0 or 2.11.0)
select their versions. The default is the installed version.

Every connection to an external ensemble can send credentials. ` + authHelp + `

An invalid run on the embedded ensemble is minimized at once: see zkcoord shrink.

Exit codes: 0 valid, 1 invalid, 2 unknown or not exercised, 3 it could not run or be stored.`,
		Example: `  zkcoord run lock-session-loss
  zkcoord run lock-session-loss --ensemble container --nodes 3 --time 20s --seed 7
  zkcoord run lock-session-loss --ensemble external --servers zoo1:2181,zoo2:2181,zoo3:2181
  zkcoord run isolated-follower --virtual --seed 7
  zkcoord run lock --client 'python3 my_lock.py' --faults none
  zkcoord run all --matrix --ensemble embedded,container --time 10s
  zkcoord run all --matrix --together --ensemble container --zookeeper 3.8,3.9.3,3.9.6
  zkcoord run all --matrix --each-fault --ensemble container --markdown
  zkcoord run all --time 10s --json
  zkcoord run lock-session-loss --plan store/latest/faults.json --seed 7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: scenarioNames,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.fromEnvironment(c); err != nil {
				return err
			}
			f.timeGiven = c.Flags().Changed("time")
			if !c.Flags().Changed("seed") {
				f.seed = rand.Uint64N(1e6)
			}
			if f.together && !f.matrix {
				return errors.New("--together requires --matrix: other runs draw from all faults anyway")
			}
			if f.eachFault && (!f.matrix || f.together || f.mutant != "" || f.client != "") {
				return errors.New("--each-fault requires --matrix, without --together, --mutant and --client")
			}
			if f.markdown && !f.eachFault {
				return errors.New("--markdown requires --each-fault")
			}
			if f.txnLogs != "" {
				if f.matrix || len(args) != 1 || args[0] == "all" {
					return errors.New("--txn-logs keeps the logs of a single run: name one scenario, without --matrix")
				}
				if err := os.Mkdir(f.txnLogs, 0o755); err != nil {
					return fmt.Errorf("--txn-logs must name a new directory: %w", err)
				}
			}
			all := func() error {
				if f.matrix {
					return a.matrix(c.Context(), args, f)
				}
				return a.shrinking(c.Context(), f, a.runAll(c.Context(), args, f))
			}
			if f.virtual {
				return a.virtually(all)
			}
			return all()
		},
	}
	f.define(c)
	return c
}

func (f *runFlags) define(c *cobra.Command) {
	f.defineEnsemble(c, "embedded")
	f.defineFaults(c)
	flags := c.Flags()
	flags.DurationVarP(&f.time, "time", "t", standardTime, fmt.Sprintf("how long clients work under faults; if the flag is not set, or with --matrix, at least as long as the scenario needs (default with --virtual: %v)", scenarios.VirtualTime))
	flags.BoolVar(&f.processes, "client-processes", false, "run clients in separate processes, which can be paused, if the scenario supports it")
	flags.BoolVar(&f.matrix, "matrix", false, "run each scenario under each of its faults alone, on each kind of --ensemble KIND,... and each version of --zookeeper VERSION,...; print a table")
	flags.BoolVar(&f.together, "together", false, "with --matrix: run each scenario once under all of its faults instead of under each alone")
	flags.BoolVar(&f.eachFault, "each-fault", false, "with --matrix: run each fault once, in the scenario that depends most on what it breaks, if that is one of the named scenarios")
	flags.BoolVar(&f.markdown, "markdown", false, "with --each-fault: print a document in Markdown, like docs/fault-matrix.md")
	flags.Uint64VarP(&f.seed, "seed", "s", 0, "seed of the plan and of each client's choices (default: random)")
	flags.StringVar(&f.plan, "plan", "", "follow the plan in this file instead of drawing one")
	flags.IntVar(&f.operations, "operations", 0, "finish after this many operations have begun (0: no limit)")
	flags.StringVar(&f.mutant, "mutant", "", "run this broken variant of the scenario")
	flags.StringVar(&f.client, "client", "", "shell command that starts a client in any language, instead of the scenario's own clients (see zkcoord client)")
	flags.BoolVar(&f.virtual, "virtual", false, "run on a virtual clock, where a minute takes about a second (only on the embedded ensemble, with scenarios that start no processes)")
	flags.DurationVar(&f.shrink, "shrink", time.Minute, "how long to minimize a run that is invalid on the embedded ensemble (0: do not)")
	flags.StringVar(&f.txnLogs, "txn-logs", "", "keep the servers' transaction logs in this new directory, for zkcoord audit (only for a single run)")
	flags.StringVar(&f.store, "store", "store", "directory of the results (empty: store nothing)")
}

// defineEnsemble defines the flags that select the ensemble.
func (f *runFlags) defineEnsemble(c *cobra.Command, kind string) {
	flags := c.Flags()
	flags.StringVarP(&f.ensemble, "ensemble", "e", kind, "kind of ensemble: "+strings.Join(ensembleKinds(), ", "))
	defineZooKeeper(c, &f.zookeeper)
	flags.StringSliceVar(&f.servers, "servers", nil, "addresses of an external ensemble, host:port,...")
	flags.StringVar(&f.compose, "compose", "", "docker-compose file of an external ensemble that runs on this machine")
	flags.IntVarP(&f.nodes, "nodes", "n", 0, "nodes of the ensemble (0: the scenario's default)")
	flags.IntSliceVar(&f.regions, "regions", nil, "number of nodes in each region, for example 2,2,1 (only with --ensemble process); --distance is the delay between regions")
	flags.DurationVar(&f.distance, "distance", 40*time.Millisecond, "one-way delay between two regions; up to a quarter of it is added at random")
	flags.IntVarP(&f.clients, "clients", "c", 0, "number of clients (0: the scenario's default)")
	f.auth.define(c) // credentials and TLS are for connections to --servers
	f.tls.define(c)
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(ensembleKinds()...)) // fails only for an unknown flag
}

// defineZooKeeper defines the flag that selects the version of ZooKeeper.
func defineZooKeeper(c *cobra.Command, version *string) {
	c.Flags().StringVar(version, "zookeeper", "", "version of ZooKeeper: "+strings.Join(zkversion.Known(), ", ")+
		`, or several joined by +, assigned to real nodes in turn (default "`+zkversion.Default+`"); the embedded ensemble accepts any release that it models`)
	_ = c.RegisterFlagCompletionFunc("zookeeper", fixed(zkversion.Known()...)) // fails only for an unknown flag
}

// fromEnvironment reads the connection flags of an external ensemble from the environment. It does
// not read the addresses: the user must name the ensemble that a run breaks.
func (f *runFlags) fromEnvironment(c *cobra.Command) error {
	if !strings.Contains(f.ensemble, "external") || f.compose != "" {
		return nil
	}
	return fromEnvironment(c, append([]string{authName}, tlsNames...)...)
}

// defineFaults defines the flags that select the faults of a plan, and how many of them are active
// at a time.
func (f *runFlags) defineFaults(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.faults, "faults", nil, "faults to draw from: names, families such as kill or partition, all, or none (default: all of the scenario's; with --virtual a few of them, selected by the seed)")
	c.Flags().Float64Var(&f.intensity, "intensity", 0.5, "approximate number of faults that are active at any time")
}

// ensembleKinds returns all kinds of ensembles.
func ensembleKinds() []string { return append(kinds.Names(), "external") }

// runAll runs one scenario after another.
func (a *app) runAll(ctx context.Context, names []string, f runFlags) error {
	chosen, err := f.choose(names)
	if err != nil {
		return err
	}
	return a.campaign(jobs(ctx, chosen, func(s harness.Scenario) error { return a.runOne(ctx, s, f) }))
}

// choose returns the scenarios with the given names. If --mutant is given, it returns this mutant
// of each scenario. On the virtual clock, "all" means all scenarios that can run there.
func (f *runFlags) choose(names []string) ([]harness.Scenario, error) {
	switch {
	case f.client != "" && (f.mutant != "" || f.virtual):
		return nil, errors.New("--client cannot be combined with --mutant or --virtual, because its processes have their own clock")
	case f.client != "" && slices.Equal(names, []string{"all"}):
		names = scenarios.WithProtocol()
	}
	if slices.Equal(names, []string{"all"}) {
		switch {
		case f.mutant != "":
			return nil, fmt.Errorf("--mutant %s: name the scenarios that have this mutant, instead of all", f.mutant)
		case f.virtual:
			return scenarios.Virtual(), nil
		}
		return scenarios.All(), nil
	}
	var chosen []harness.Scenario
	for _, name := range names {
		if f.mutant != "" {
			name += "+" + f.mutant
		}
		s, err := named(name)
		if err == nil && f.client != "" {
			s, err = scenarios.WithClient(s, f.client)
		}
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

// The function `named` calls scenarios.Named and adds a hint to its error.
func named(name string) (harness.Scenario, error) {
	s, err := scenarios.Named(name)
	if err != nil {
		return s, fmt.Errorf("%w: zkcoord list shows all scenarios and mutants", err)
	}
	return s, nil
}

func (a *app) runOne(ctx context.Context, s harness.Scenario, f runFlags) error {
	f.time = f.timeOf(s)
	s = f.with(s)
	o, err := f.options(a, s)
	if err != nil {
		return err
	}
	dir := f.stored(&o)
	a.announce(s, f)
	shown := a.showing(&o)
	result, err := a.runner(f.virtual)(ctx, s, o)
	err = f.auth.explain(err)
	shown()
	if result == nil {
		return a.interruptedOr(ctx, err)
	}
	told := a.tell(result, dir(result))
	if result.Verdict == checker.Invalid && f.ensemble == "embedded" && s.Needs == "" && ctx.Err() == nil {
		a.invalid = append(a.invalid, result)
	}
	return a.worst(told, err)
}

// timeOf returns how long clients work in a run of s. Without --time, the clients work for
// scenarios.VirtualTime on the virtual clock. On the real clock they work for the default time, or
// longer if s needs more. With --time, the result depends on the run:
//
//   - In a matrix on the real clock, in chaos and in a soak, --time applies to all scenarios, but a
//     scenario that needs more time gets more.
//   - In other runs, the clients work exactly for the time that --time gives.
func (f *runFlags) timeOf(s harness.Scenario) time.Duration {
	switch {
	case f.timeGiven && (f.virtual || !f.matrix):
		return f.time
	case f.virtual:
		return scenarios.VirtualOptions(s, f.seed).Time
	}
	return max(f.time, s.Time)
}

// The method `stored` sets the options `o` so that the run stores its result. The returned function
// returns the directory of a result, or "" if the result is not stored.
func (f *runFlags) stored(o *harness.Options) (dir func(*harness.Result) string) {
	if f.store == "" {
		return func(*harness.Result) string { return "" }
	}
	store := report.Open(f.store)
	o.Store = store
	return store.Dir
}

// The method `showing` sets the options `o` so that a run shows its progress until the returned
// function is called.
func (a *app) showing(o *harness.Options) (done func()) {
	a.mu.Lock()
	a.live = newLive(a.errs)
	a.mu.Unlock()
	o.Progress = func(status harness.Status) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.live.show(status)
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.live.clear()
		a.live = nil
	}
}

// runner returns harness.Run, or its equivalent on the virtual clock.
func (a *app) runner(virtual bool) func(context.Context, harness.Scenario, harness.Options) (*harness.Result, error) {
	if virtual {
		return a.runVirtual
	}
	return harness.Run
}

// interruptedOr handles the error err with which the start of a run failed. If ctx has ended,
// interruptedOr reports the interrupt and returns the exit code exitUnknown as an error. Otherwise
// it returns err.
func (a *app) interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		a.note("interrupted before the run began (%s)", paragraph(err))
		return codeError(exitUnknown)
	}
	return err
}

func (f *runFlags) options(a *app, s harness.Scenario) (harness.Options, error) {
	start, err := f.starter(a)
	if err != nil {
		return harness.Options{}, err
	}
	nodes := f.nodes
	if len(f.regions) > 0 {
		if f.ensemble != "process" || f.distance <= 0 {
			return harness.Options{}, fmt.Errorf("--regions requires --ensemble process and a positive --distance, not %s and %v", f.ensemble, f.distance)
		}
		start, nodes = f.distant(start)
	}
	o := harness.Options{
		Ensemble: start, Nodes: nodes, Clients: f.clients, Time: f.time, Seed: f.seed, Intensity: f.intensity, ClientProcesses: f.processes,
		Operations: f.operations, Command: f.command(s.Name), TxnLogs: f.txnLogs,
	}
	switch {
	case f.time <= 0:
		return o, fmt.Errorf("--time %v must be positive: clients need some time to work", f.time)
	case f.virtual && f.ensemble != "embedded":
		return o, fmt.Errorf("--virtual requires --ensemble embedded: the servers of %s have their own clocks", f.ensemble)
	case f.nodes < 0 || f.clients < 0 || f.operations < 0 || f.shrink < 0 || !(f.intensity > 0): // also rejects NaN
		return o, fmt.Errorf("--nodes %d, --clients %d, --operations %d, --shrink %v, --intensity %v: none can be negative, and --intensity must be above zero",
			f.nodes, f.clients, f.operations, f.shrink, f.intensity)
	case f.time > mostTime || f.clients > mostClients || f.intensity > mostIntensity:
		return o, fmt.Errorf("--time %v, --clients %d, --intensity %v: the limits are --time %v, --clients %d, --intensity %d: plan and history are kept in memory",
			f.time, f.clients, f.intensity, mostTime, mostClients, mostIntensity)
	}
	if f.plan != "" {
		if o.Plan, err = report.ReadPlan(f.plan); err != nil {
			return o, err
		}
	}
	if f.virtual && f.zookeeper == "" {
		o.Ensemble = scenarios.VirtualOptions(s, f.seed).Ensemble // of the version that the seed selects
	}
	if f.virtual && f.faults == nil {
		o.Faults = scenarios.VirtualOptions(s, f.seed).Faults
		return o, nil
	}
	o.Faults, err = f.chosenFaults(s)
	return o, err
}

// The method `distant` returns a starter of ensembles in several regions. It also returns the
// number of nodes of such an ensemble: --nodes if it is given, and the sum of --regions otherwise.
// If --nodes differs from that sum, the ensemble does not start.
func (f *runFlags) distant(start ensemble.Starter) (ensemble.Starter, int) {
	nodes := f.nodes
	if nodes == 0 {
		for _, n := range f.regions {
			nodes += n
		}
	}
	return func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		config.Regions, config.Distance = f.regions, ensemble.Pace{Delay: f.distance, Jitter: f.distance / 4}
		return start(ctx, config)
	}, nodes
}

// The method `with` returns a copy of s that also has the faults that f.faults names. If f.faults
// has the name of a family, the method replaces it by the names of all faults of the family.
func (f *runFlags) with(s harness.Scenario) harness.Scenario {
	if f.faults == nil {
		return s
	}
	if s.Client != "" && f.without() {
		// If a scenario has faults, but none is injected in a run, the verdict of the run cannot be
		// "valid". At best it is "not exercised". So for clients in another language (see
		// Scenario.Client), this method removes the faults from the scenario itself. Then a run of
		// new clients without faults can be valid.
		s.Faults = nil
		return s
	}
	s, f.faults = scenarios.With(s, f.faults...)
	return s
}

// The method `without` reports whether the flags select no faults.
func (f *runFlags) without() bool { return slices.Equal(f.faults, []string{"none"}) }

// chosenFaults returns the selected faults. Nil means all faults of the scenario.
func (f *runFlags) chosenFaults(s harness.Scenario) ([]string, error) {
	if f.faults == nil {
		return nil, nil
	}
	if f.without() {
		return []string{}, nil
	}
	for _, name := range f.faults {
		if !slices.ContainsFunc(s.Faults, func(one harness.Fault) bool { return one.Name() == name }) {
			return nil, fmt.Errorf("%s has no fault %q: zkcoord list faults shows all faults", s.Name, name)
		}
	}
	return f.faults, nil
}

func (f *runFlags) starter(a *app) (ensemble.Starter, error) {
	if f.ensemble != "external" {
		if len(f.servers) > 0 || f.compose != "" || f.tls.used() || f.auth.file != "" {
			return nil, fmt.Errorf("--servers, --compose, --auth-file and --tls are for --ensemble external, not for %s", f.ensemble)
		}
		return kinds.Starter(f.ensemble, f.zookeeper, "", notes{a})
	}
	if f.zookeeper != "" {
		return nil, errors.New("--zookeeper cannot change the version of an external ensemble")
	}
	if f.nodes > 0 {
		return nil, errors.New("--nodes cannot change the number of nodes of an external ensemble: give --servers")
	}
	if f.compose != "" {
		if f.tls.used() || f.auth.file != "" {
			return nil, errors.New("--tls and --auth-file require --servers: connections to a --compose ensemble do not use them")
		}
		return attached(f.compose, f.servers)
	}
	config, err := f.tls.config()
	if err != nil {
		return nil, err
	}
	credentials, err := f.auth.credentials()
	if err != nil {
		return nil, err
	}
	external, err := external.New(external.Options{Servers: f.servers, TLS: config, Auth: credentials})
	if err != nil {
		return nil, fmt.Errorf("%w: give --servers host:port,... or --compose FILE", err)
	}
	return func(ctx context.Context, _ ensemble.Config) (ensemble.Ensemble, error) {
		o := session.Options{Servers: external.Servers(), TLS: config, Auth: credentials}
		return external, f.answers(ctx, external, o)
	}, nil
}

// The function `attached` returns a starter that attaches to a running docker-compose project.
func attached(file string, servers []string) (ensemble.Starter, error) {
	if len(servers) > 0 {
		return nil, errors.New("give --servers or --compose, not both")
	}
	return func(ctx context.Context, _ ensemble.Config) (ensemble.Ensemble, error) {
		return kinds.Attach(ctx, file)
	}, nil
}

// The method `answers` waits a short time until an existing ensemble accepts a session. It opens a
// session before it requests the status, because the error of a session is more informative.
func (f *runFlags) answers(ctx context.Context, e ensemble.Ensemble, o session.Options) error {
	const patience = 5 * time.Second
	connect := connectFlags{servers: f.servers, timeout: patience, auth: f.auth}
	s, err := connect.openWith(ctx, o)
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		return fmt.Errorf("%w (give the addresses of all servers of one ensemble)", err)
	}
	return nil
}

// The type `notes` is a writer that shows each line to the user as a note.
type notes struct{ a *app }

func (n notes) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			n.a.note("%s", line)
		}
	}
	return len(text), nil
}

var _ io.Writer = notes{}

// command returns the command line that repeats the run.
func (f *runFlags) command(scenario string) string {
	name, mutant, _ := strings.Cut(scenario, "+")
	parts := []string{"zkcoord run", name, "--ensemble", f.ensemble}
	add := func(flag string, set bool, value any) {
		if set {
			parts = append(parts, "--"+flag, quoted(fmt.Sprint(value)))
		}
	}
	add("mutant", mutant != "", mutant)
	add("zookeeper", f.zookeeper != "", f.zookeeper)
	add("servers", len(f.servers) > 0, strings.Join(f.servers, ","))
	add("compose", f.compose != "", f.compose)
	if f.tls.on {
		parts = append(parts, "--tls")
	}
	add(authName, f.auth.file != "", f.auth.file)
	add("tls-ca", f.tls.ca != "", f.tls.ca)
	add("tls-cert", f.tls.cert != "", f.tls.cert)
	add("tls-key", f.tls.key != "", f.tls.key)
	add("tls-server-name", f.tls.name != "", f.tls.name)
	if f.processes {
		parts = append(parts, "--client-processes")
	}
	add("client", f.client != "", f.client)
	add("nodes", f.nodes > 0, f.nodes)
	add("regions", len(f.regions) > 0, strings.Trim(strings.ReplaceAll(fmt.Sprint(f.regions), " ", ","), "[]"))
	add("distance", len(f.regions) > 0, f.distance)
	add("clients", f.clients > 0, f.clients)
	add("time", true, f.time)
	add("operations", f.operations > 0, f.operations)
	add("faults", f.faults != nil, strings.Join(f.faults, ","))
	add("plan", f.plan != "", f.plan)
	add("intensity", f.intensity != 0.5, f.intensity)
	add("seed", true, f.seed)
	if f.virtual {
		parts = append(parts, "--virtual")
	}
	return strings.Join(parts, " ")
}

// The function `quoted` quotes a word for a shell. If all characters of the word are safe, it
// returns the word unchanged.
func quoted(word string) string {
	safe := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./:,+@%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !safe(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// announce writes a note about a run that is about to start: scenario, length, ensemble and seed.
func (a *app) announce(s harness.Scenario, f runFlags) {
	a.note("%s for %v on %s, seed %d", s.Name, f.time, f.on(), f.seed)
}

// The method `on` describes the ensemble that the flags select.
func (f *runFlags) on() string {
	return map[string]string{
		"embedded":  "an embedded ensemble, a model of ZooKeeper in this process (--ensemble container runs real servers)",
		"container": "ZooKeeper in containers",
		"process":   "ZooKeeper in local JVMs",
		"external":  "the ensemble " + cmp.Or(f.compose, strings.Join(f.servers, ",")),
	}[f.ensemble]
}

// tell prints the result of a run and returns the exit code for its verdict as an error.
func (a *app) tell(r *harness.Result, dir string) error {
	if a.json {
		if err := a.printJSON(report.NewDocument(r, dir)); err != nil {
			return err
		}
		return codeOf(r.Verdict)
	}
	text := r.Summary()
	if colored(a.out) {
		text = paintVerdict(text, r.Verdict)
	}
	fmt.Fprint(a.out, text)
	if dir != "" {
		fmt.Fprintf(a.out, "report: %s\n", filepath.Join(dir, report.HTMLFile))
	}
	return codeOf(r.Verdict)
}

// paintVerdict colors the first occurrence of the verdict.
func paintVerdict(text string, v checker.Verdict) string {
	return strings.Replace(text, v.String(), colorOf(v)+v.String()+plain, 1)
}
