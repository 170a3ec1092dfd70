package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/scenarios"
)

// mutantsFlags are the flags of zkcoord mutants.
type mutantsFlags struct {
	ensemble  string
	zookeeper string
	nodes     int
	seeds     int
	time      time.Duration
	markdown  bool

	start ensemble.Starter
}

func (f *mutantsFlags) virtual() bool { return f.ensemble == "embedded" }

func (a *app) mutantsCommand() *cobra.Command {
	var f mutantsFlags
	c := &cobra.Command{
		Use:   "mutants [SCENARIO|SCENARIO/MUTANT]...",
		Short: "Run the broken variants of scenarios, which must be found invalid",
		Long: `Run each broken variant of all scenarios, or of the named ones, with one seed after another until a run finds the
violation that the variant was made for. Print the number of runs and the time. On the embedded ensemble runs
are in virtual time. A mutant that needs a library in another language requires real servers: --ensemble container.

Exit codes: 0 all were killed, 1 one survived, 2 interrupted, 3 one could not run.`,
		Example: `  zkcoord mutants
  zkcoord mutants watch isolated-follower/zk-lock --seeds 20
  zkcoord mutants isolated-follower/curator --ensemble container --time 20s
  zkcoord mutants --markdown > docs/mutants.md`,
		ValidArgsFunction: mutantNames,
		RunE: func(c *cobra.Command, args []string) error {
			if f.seeds < 1 || f.time <= 0 || f.nodes < 0 {
				return fmt.Errorf("--seeds %d, --time %v, --nodes %d: --seeds and --time must be positive, and --nodes cannot be negative", f.seeds, f.time, f.nodes)
			}
			var err error
			if f.start, err = kinds.Starter(f.ensemble, f.zookeeper, "", notes{a}); err != nil {
				return err
			}
			chosen, err := chooseMutants(args)
			if err != nil {
				return err
			}
			if f.virtual() {
				return a.virtually(func() error { return a.mutants(c.Context(), chosen, f) })
			}
			return a.mutants(c.Context(), chosen, f)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.ensemble, "ensemble", "e", "embedded", "kind of ensemble: "+strings.Join(kinds.Names(), ", "))
	defineZooKeeper(c, &f.zookeeper)
	flags.IntVarP(&f.nodes, "nodes", "n", 0, "nodes of the ensemble (0: the scenario's default)")
	flags.IntVar(&f.seeds, "seeds", scenarios.HuntSeeds, "maximum number of runs of each mutant; it survives if none of them kills it")
	flags.DurationVarP(&f.time, "time", "t", scenarios.VirtualTime, "how long clients work under faults in each run")
	flags.BoolVar(&f.markdown, "markdown", false, "print the table as a Markdown document")
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(kinds.Names()...))
	return c
}

// A specimen is a mutant with its scenario.
type specimen struct {
	of     harness.Scenario
	mutant harness.Mutant
}

// chooseMutants returns the named mutants and all mutants of the named scenarios. Without names it
// returns all mutants.
func chooseMutants(names []string) ([]specimen, error) {
	var chosen []specimen
	if len(names) == 0 {
		names = scenarios.Names()
	}
	for _, name := range names {
		scenario, mutant, one := strings.Cut(name, "/")
		found, err := (&runFlags{}).choose([]string{scenario})
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			for _, m := range s.Mutants {
				if !one || m.Name == mutant {
					chosen = append(chosen, specimen{s, m})
				}
			}
		}
		if one {
			if _, err := named(scenario + "+" + mutant); err != nil {
				return nil, err
			}
		}
	}
	return chosen, nil
}

// mutants runs each mutant until it is killed or has survived all seeds, and prints the results.
func (a *app) mutants(ctx context.Context, all []specimen, f mutantsFlags) error {
	t := a.newKillTable(all, f)
	if err := t.head(); err != nil {
		return err
	}
	survived := 0
	err := a.campaign(jobs(ctx, all, func(m specimen) error {
		k := harness.NewKill(m.of, m.mutant)
		if m.mutant.Needs != "" && f.virtual() {
			return t.row(k)
		}
		k, err := a.hunt(ctx, m, f)
		switch {
		case ctx.Err() != nil:
			return codeError(exitUnknown)
		case err != nil:
			return err
		case !k.Killed():
			survived++
			return a.worst(codeError(exitInvalid), t.row(k))
		}
		return t.row(k)
	}))
	if survived > 0 {
		a.note("%d survived", survived)
	}
	return err
}

func (a *app) hunt(ctx context.Context, m specimen, f mutantsFlags) (harness.Kill, error) {
	return harness.Hunt(m.of, m.mutant, f.seeds, func(s harness.Scenario, seed uint64) (*harness.Result, error) {
		o := scenarios.VirtualOptions(s, seed)
		o.Nodes, o.Time = f.nodes, f.time
		if !f.virtual() || f.zookeeper != "" {
			o.Ensemble = f.start
		}
		r, err := a.runner(f.virtual())(ctx, s, o)
		return r, errors.Join(err, ctx.Err())
	})
}

// mutantNames completes the names of scenarios and of their mutants.
func mutantNames(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range scenarios.All() {
		if len(s.Mutants) > 0 {
			names = append(names, s.Name)
		}
		for _, m := range s.Mutants {
			names = append(names, s.Name+"/"+m.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// A killTable prints the result for each mutant as soon as the result is available.
type killTable struct {
	a                *app
	f                mutantsFlags
	mutant, scenario int // column widths
}

func (a *app) newKillTable(all []specimen, f mutantsFlags) killTable {
	t := killTable{a, f, len("MUTANT"), len("OF")}
	for _, m := range all {
		t.mutant, t.scenario = max(t.mutant, len(m.mutant.Name)), max(t.scenario, len(m.of.Name))
	}
	return t
}

const killDocument = `# Mutants

A scenario is a program of many clients that use locks, queues and so on while faults are injected. A mutant is a variant of
it with a bug, mostly one that a real library had. A harness that does not find these mutants would not find such bugs in
programs either. This command printed the table:

    zkcoord mutants --markdown > docs/mutants.md

Each run is on the embedded ensemble (zktest). Its clients work under faults for %v of virtual time, and then for a short
time without faults. A mutant must be killed within %d runs, by the property that it was made to violate. The column
"seconds" is the virtual time of all these runs until the violation. In the last column, "samuel" is
github.com/samuel/go-zookeeper, and "zk" is its successor github.com/go-zookeeper/zk. Mutants that need a library in
another language run on real servers: see [track-record.md](track-record.md).
Runs are on a model of ZooKeeper 3.8.6 and of 3.9.6 in turn. The first run has seed 0, and even seeds are on 3.8.6.

Mutants of ` + "`lock-pause-sql`" + ` need real processes and PostgreSQL: ` + "`go test ./scenarios -run LockPauseSQLMutantsDie`" + `.
Mutants of ` + "`shell-lock`" + ` need Linux: ` + "`go test ./scenarios -run ShellLock`" + `.

| mutant | scenario | fate | runs | seconds | stands for |
| --- | --- | --- | --- | --- | --- |
`

func (t killTable) head() (err error) {
	switch {
	case t.a.json:
	case t.f.markdown:
		_, err = fmt.Fprintf(t.a.out, killDocument, t.f.time, t.f.seeds)
	default:
		err = t.line("MUTANT", "OF", "RUNS", "SECONDS", "FATE", "STANDS FOR")
	}
	return err
}

func (t killTable) row(k harness.Kill) error {
	if t.a.json {
		return t.a.printJSON(k)
	}
	runs, seconds := "-", "-"
	if k.Seeds > 0 {
		runs, seconds = fmt.Sprint(k.Seeds), fmt.Sprintf("%.1f", k.Within.Seconds())
	}
	if t.f.markdown {
		_, err := fmt.Fprintf(t.a.out, "| %s | %s | %s | %s | %s | %s |\n", k.Mutant, k.Scenario, fate(k), runs, seconds, strings.ReplaceAll(k.Report, "|", `\|`))
		return err
	}
	return t.line(k.Mutant, k.Scenario, runs, seconds, fate(k), k.Report)
}

func (t killTable) line(mutant, scenario, runs, seconds, fate, report string) error {
	_, err := fmt.Fprintf(t.a.out, "%-*s  %-*s  %4s  %7s  %-40s  %s\n", t.mutant, mutant, t.scenario, scenario, runs, seconds, fate, report)
	return err
}

func fate(k harness.Kill) string {
	switch {
	case k.Killed():
		return "killed by " + k.Violated
	case k.Seeds > 0:
		return "SURVIVED"
	}
	return "needs " + k.Needs
}
