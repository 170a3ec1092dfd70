package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/external"
	"github.com/zkcoord/zkcoord/harness/ensemble/kinds"
	"github.com/zkcoord/zkcoord/harness/link"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/scenarios"
)

// runFlags are those of zkcoord run.
type runFlags struct {
	ensemble  string
	servers   []string
	nodes     int
	clients   int
	time      time.Duration
	seed      uint64
	faults    []string
	plan      string
	intensity float64
	mutant    string
	virtual   bool
	store     string
}

const standardTime = 20 * time.Second

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCENARIO...",
		Short: "Run scenarios on an ensemble, and judge them",
		Long: `Run starts an ensemble, lets the scenario's clients work while it breaks things by a plan drawn from the seed,
heals everything, judges the history, and writes a report to the store. "all" runs every scenario.

The embedded ensemble is a model of ZooKeeper inside of this process. A container ensemble is the real thing and
needs Docker; a process ensemble is the real thing in local JVMs and needs ZooKeeper's jars; an external one is
yours, by its addresses.

Exit codes: 0 valid, 1 invalid, 2 unknown or not exercised, 3 it could not run.`,
		Example: `  zkcoord run lock-session-loss
  zkcoord run lock-session-loss --ensemble container --nodes 3 --time 20s --seed 7
  zkcoord run lock-session-loss --ensemble external --servers zoo1:2181,zoo2:2181,zoo3:2181
  zkcoord run isolated-follower --virtual --time 90s
  zkcoord run all --time 10s --json
  zkcoord run lock-session-loss --plan store/latest/faults.json --seed 7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: scenarioNames,
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("seed") {
				f.seed = rand.Uint64N(1e6)
			}
			if f.virtual {
				return a.virtually(func() error { return a.runAll(c.Context(), args, f) })
			}
			return a.runAll(c.Context(), args, f)
		},
	}
	f.define(c)
	return c
}

func (f *runFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVarP(&f.ensemble, "ensemble", "e", "embedded", "kind of ensemble: "+strings.Join(ensembleKinds(), ", "))
	flags.StringSliceVar(&f.servers, "servers", nil, "addresses of an external ensemble, host:port,...")
	flags.IntVarP(&f.nodes, "nodes", "n", 0, "nodes of the ensemble (0: what the scenario asks for)")
	flags.IntVarP(&f.clients, "clients", "c", 0, "clients (0: what the scenario asks for)")
	flags.DurationVarP(&f.time, "time", "t", standardTime, "for how long clients work under faults")
	flags.Uint64VarP(&f.seed, "seed", "s", 0, "seed of the plan and of each client's choices (default: drawn)")
	flags.StringSliceVar(&f.faults, "faults", nil, "faults to draw from: names, or none (default: all of the scenario's)")
	flags.StringVar(&f.plan, "plan", "", "follow the plan in this file instead of drawing one")
	flags.Float64Var(&f.intensity, "intensity", 0.5, "about how many faults stand at any time")
	flags.StringVar(&f.mutant, "mutant", "", "run this broken variant of the scenario")
	flags.BoolVar(&f.virtual, "virtual", false, "run on a virtual clock (embedded only): a minute takes about a second")
	flags.StringVar(&f.store, "store", "store", "directory of the results (empty: keep nothing)")
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(ensembleKinds()...)) // fails only for a flag that there is not
}

// ensembleKinds are all that can be run on.
func ensembleKinds() []string { return append(kinds.Names(), "external") }

// runAll runs one scenario after the other. A violation outweighs that another one could not run, which outweighs that
// nothing is known.
func (a *app) runAll(ctx context.Context, names []string, f runFlags) error {
	chosen, err := choose(names, f.mutant)
	if err != nil {
		return err
	}
	var codes []int
	for _, s := range chosen {
		err := a.runOne(ctx, s, f)
		if len(chosen) == 1 {
			return err
		}
		codes = append(codes, a.exit(err))
		if ctx.Err() != nil {
			break
		}
	}
	for _, code := range []int{exitInvalid, exitFailed, exitUnknown} {
		if slices.Contains(codes, code) {
			return codeError(code)
		}
	}
	return nil
}

// choose finds the scenarios of those names, as the mutant if there is one.
func choose(names []string, mutant string) ([]harness.Scenario, error) {
	if slices.Equal(names, []string{"all"}) {
		if mutant != "" {
			return nil, errors.New("--mutant needs the one scenario that has it")
		}
		return scenarios.All(), nil
	}
	var chosen []harness.Scenario
	for _, name := range names {
		s, err := scenarios.Named(name)
		if err != nil {
			return nil, fmt.Errorf("no scenario %q: zkcoord list shows what there is", name)
		}
		if mutant != "" {
			if s, err = mutate(s, mutant); err != nil {
				return nil, err
			}
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

func mutate(s harness.Scenario, name string) (harness.Scenario, error) {
	i := slices.IndexFunc(s.Mutants, func(m harness.Mutant) bool { return m.Name == name })
	if i < 0 {
		return s, fmt.Errorf("%s has no mutant %q: zkcoord list mutants shows what there is", s.Name, name)
	}
	return s.Mutate(s.Mutants[i]), nil
}

func (a *app) runOne(ctx context.Context, s harness.Scenario, f runFlags) error {
	o, err := f.options(a, s)
	if err != nil {
		return err
	}
	var store *report.Store
	if f.store != "" {
		store = report.Open(f.store)
		o.Store = store
	}
	a.announce(s, f)
	a.live = newLive(a.errs)
	o.Progress = func(status harness.Status) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.live.show(status)
	}
	result, err := a.runner(f.virtual)(ctx, s, o)
	a.mu.Lock()
	a.live.clear()
	a.live = nil
	a.mu.Unlock()
	if result == nil {
		return interruptedOr(ctx, err)
	}
	dir := ""
	if store != nil {
		dir = store.Dir(result)
	}
	told := a.tell(result, dir)
	if err == nil || errors.Is(told, codeError(exitInvalid)) {
		if err != nil {
			a.note("%s", paragraph(err))
		}
		return told
	}
	return err
}

// runner is harness.Run, or the same on the virtual clock.
func (a *app) runner(virtual bool) func(context.Context, harness.Scenario, harness.Options) (*harness.Result, error) {
	if virtual {
		return a.runVirtual
	}
	return harness.Run
}

// interruptedOr says so if a run could not begin because somebody interrupted it.
func interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before the run began (%s)", paragraph(err))
	}
	return err
}

func (f *runFlags) options(a *app, s harness.Scenario) (harness.Options, error) {
	start, err := f.starter(a)
	if err != nil {
		return harness.Options{}, err
	}
	o := harness.Options{
		Ensemble: start, Nodes: f.nodes, Clients: f.clients, Time: f.time, Seed: f.seed, Intensity: f.intensity,
		Command: f.command(s),
		Link:    func(_ int, dial ensemble.DialFunc) harness.Link { return link.New(dial) },
	}
	switch {
	case f.time <= 0:
		return o, fmt.Errorf("--time %v: clients need some time to work", f.time)
	case f.virtual && f.ensemble != "embedded":
		return o, fmt.Errorf("--virtual is for --ensemble embedded: the servers of %s have clocks of their own", f.ensemble)
	case f.nodes < 0 || f.clients < 0 || f.intensity <= 0:
		return o, errors.New("--nodes, --clients and --intensity cannot be negative, nor --intensity zero")
	}
	if f.plan != "" {
		if o.Plan, err = report.ReadPlan(f.plan); err != nil {
			return o, err
		}
	}
	o.Faults, err = f.chosenFaults(s)
	return o, err
}

// chosenFaults is nil for all of the scenario's.
func (f *runFlags) chosenFaults(s harness.Scenario) ([]string, error) {
	if f.faults == nil {
		return nil, nil
	}
	if slices.Equal(f.faults, []string{"none"}) {
		return []string{}, nil
	}
	for _, name := range f.faults {
		if !slices.ContainsFunc(s.Faults, func(one harness.Fault) bool { return one.Name() == name }) {
			return nil, fmt.Errorf("%s has no fault %q: zkcoord list faults shows what there is", s.Name, name)
		}
	}
	return f.faults, nil
}

func (f *runFlags) starter(a *app) (func(context.Context, ensemble.Config) (ensemble.Ensemble, error), error) {
	if f.ensemble != "external" {
		if len(f.servers) > 0 {
			return nil, fmt.Errorf("--servers is for --ensemble external, not for %s", f.ensemble)
		}
		return kinds.Starter(f.ensemble, "", notes{a})
	}
	if f.nodes > 0 {
		return nil, errors.New("an external ensemble has the nodes that it has: give --servers, not --nodes")
	}
	external, err := external.New(f.servers...)
	if err != nil {
		return nil, fmt.Errorf("%w: give --servers host:port,...", err)
	}
	return func(context.Context, ensemble.Config) (ensemble.Ensemble, error) { return external, nil }, nil
}

// notes is a writer of lines for people.
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

// command is the command line that does the same run again.
func (f *runFlags) command(s harness.Scenario) string {
	name, mutant, _ := strings.Cut(s.Name, "+")
	parts := []string{"zkcoord run", name, "--ensemble", f.ensemble}
	add := func(flag string, set bool, value any) {
		if set {
			parts = append(parts, fmt.Sprintf("--%s %v", flag, value))
		}
	}
	add("mutant", mutant != "", mutant)
	add("servers", len(f.servers) > 0, strings.Join(f.servers, ","))
	add("nodes", f.nodes > 0, f.nodes)
	add("clients", f.clients > 0, f.clients)
	add("time", true, f.time)
	add("faults", f.faults != nil, strings.Join(f.faults, ","))
	add("plan", f.plan != "", f.plan)
	add("intensity", f.intensity != 0.5, f.intensity)
	add("seed", true, f.seed)
	if f.virtual {
		parts = append(parts, "--virtual")
	}
	return strings.Join(parts, " ")
}

// announce says what is about to run, on what.
func (a *app) announce(s harness.Scenario, f runFlags) {
	on := map[string]string{
		"embedded":  "an embedded ensemble, a model of ZooKeeper in this process (--ensemble container is the real thing)",
		"container": "ZooKeeper in containers",
		"process":   "ZooKeeper in local JVMs",
		"external":  "the ensemble " + strings.Join(f.servers, ","),
	}[f.ensemble]
	a.note("%s for %v on %s, seed %d", s.Name, f.time, on, f.seed)
}

// tell prints the result of a run, and returns the verdict as an error.
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

// paintVerdict colours the first mention of the verdict.
func paintVerdict(text string, v checker.Verdict) string {
	return strings.Replace(text, v.String(), colorOf(v)+v.String()+plain, 1)
}
