package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/report"
)

func (a *app) soakCommand() *cobra.Command {
	var f runFlags
	var total time.Duration
	c := &cobra.Command{
		Use:   "soak [SCENARIO]...",
		Short: "Run scenarios for hours and add up the rounds",
		Long: `Run scenarios (default: all that need only an ensemble) in turn, on each of --zookeeper VERSION,... in turn.
Each round has a new ensemble, a new seed and a separate history, so the memory that soak needs does not grow.
With --keep-ensemble, up to 25 rounds share an ensemble, if they need the same version and configuration. So more
rounds fit into the time. After a round that is invalid or unknown, the next one has a new ensemble.

After each round soak appends a line to rounds.jsonl in the store and rewrites rounds.html, which has the sums by
scenario, version and fault, and the seeds of the rounds that are not valid. For each verdict that is
not valid, it keeps the histories of up to ten rounds. To continue after an interrupt or a crash, repeat the command.
--for includes the time of earlier rounds.

A round that cannot begin counts as a round. Three such rounds in a row end the soak.

Exit codes: 0 no round found a violation, 1 a round found one, 2 no conclusion, 3 it could not run.`,
		Example: `  zkcoord soak --for 10m
  zkcoord soak lock-session-loss queue-claims --ensemble container --zookeeper 3.8,3.9.6 --for 8h --store soak`,
		ValidArgsFunction: scenarioNames,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.fromEnvironment(c); err != nil {
				return err
			}
			if total <= 0 {
				return fmt.Errorf("--for %v: it must be positive", total)
			}
			if f.store == "" {
				return errors.New("--store must name a directory, because the rounds are added up there")
			}
			if !c.Flags().Changed("seed") {
				f.seed = rand.Uint64N(1e6)
			}
			if f.keepEnsemble && f.ensemble != "process" && f.ensemble != "container" {
				return fmt.Errorf("--keep-ensemble requires --ensemble process or --ensemble container, not %s", f.ensemble)
			}
			return a.soak(c.Context(), args, f, total, c.Flags().Changed("seed"))
		},
	}
	f.defineEnsemble(c, "embedded")
	flags := c.Flags()
	flags.DurationVarP(&f.time, "time", "t", standardTime, "how long clients work under faults in each round, at least as long as its scenario needs")
	flags.DurationVar(&total, "for", time.Hour, "begin no further round once the rounds have taken this time together")
	flags.Uint64VarP(&f.seed, "seed", "s", 0, "seed of the first round; each further round adds 1 (default: random, or that of the soak that continues)")
	flags.BoolVar(&f.processes, "client-processes", false, "run clients in separate processes, which can be paused, if the scenario supports it")
	flags.BoolVar(&f.keepEnsemble, "keep-ensemble", false, "use one ensemble for several rounds")
	f.defineFaults(c)
	flags.StringVar(&f.store, "store", "soak", "directory of the sums and of rounds that are not valid")
	return c
}

// The method `soak` runs rounds until all rounds in the store have together taken the time `total`.
// The store may contain rounds of an interrupted soak.
func (a *app) soak(ctx context.Context, names []string, f runFlags, total time.Duration, seedGiven bool) error {
	if len(names) == 0 {
		names = []string{"all"}
		f.virtual = true // chooses the scenarios that need no other process
	}
	chosen, err := f.choose(names)
	if err != nil {
		return err
	}
	f.virtual = false
	ledger, err := report.OpenLedger(f.store, f.soakCommand(names), f.seed)
	if err != nil {
		return err
	}
	if seedGiven && f.seed != ledger.Begun() {
		return fmt.Errorf("--seed %d: the soak in %s began with seed %d", f.seed, f.store, ledger.Begun())
	}
	f.seed = ledger.Begun()
	totals := ledger.Totals()
	c := &rounds{app: a, chosen: chosen, flags: f, keep: newFailures(f.store), totals: totals, ledger: ledger, first: totals.All.Rounds, total: total, retry: 2}
	a.note("%v in rounds of %v on %s, from round %d, first seed %d; interrupt to stop, repeat to continue",
		total, f.time, f.on(), c.first, f.seed)
	if f.keepEnsemble {
		c.kept = &keeper{app: a}
		defer c.kept.close(ctx) // even if a round panics
	}
	code := a.campaign(c.all(ctx))
	if c.kept != nil {
		code = a.worst(code, c.kept.close(ctx))
	}
	a.note("sums: %s", ledger.Page())
	if a.json {
		return a.worst(c.code(), code, a.sum(totals))
	}
	return a.worst(c.code(), code, totals.WriteText(a.out))
}

// soakCommand returns the command line of the soak, without its seed and its store.
func (f *runFlags) soakCommand(names []string) string {
	of := *f
	of.seed = 0
	text := strings.TrimSuffix(of.command(strings.Join(names, " ")), " --seed 0")
	if f.keepEnsemble {
		text += " --keep-ensemble"
	}
	return strings.Replace(text, "zkcoord run", "zkcoord soak", 1)
}
