package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/report"
)

// keptFailures is the maximum number of runs that chaos or a soak stores for each verdict. Both can
// run for days, and would fill the disk if they stored each run.
const keptFailures = 10

func (a *app) chaosCommand() *cobra.Command {
	var f runFlags
	var total time.Duration
	c := &cobra.Command{
		Use:   "chaos [SCENARIO]...",
		Short: "Break an existing ensemble until interrupted",
		Long: `Run scenarios (default: lock) in turn against an existing ensemble, until interrupted. Each round has a new
seed. Chaos prints a line for each round and a summary. It stores rounds that are not valid, up to ten of each verdict.

With --servers, chaos breaks only the clients' own connections and sessions. With --compose, which names the
docker-compose file of a project that runs on this machine, it also kills, pauses and cuts off the servers.

Use chaos only with an ensemble for experiments. ` + authHelp + `

Exit codes: 0 no round found a violation, 1 a round found one, 2 no conclusion, 3 it could not run.`,
		Example: `  zkcoord chaos --servers zoo1:2181,zoo2:2181,zoo3:2181
  zkcoord chaos lock-session-loss watch --compose docker-compose.yml --time 2m
  zkcoord chaos --ensemble container --for 8h --json > rounds.jsonl`,
		ValidArgsFunction: scenarioNames,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.fromEnvironment(c); err != nil {
				return err
			}
			if !c.Flags().Changed("seed") {
				f.seed = rand.Uint64N(1e6)
			}
			if len(args) == 0 {
				args = []string{"lock"}
			}
			chosen, err := f.choose(args)
			if err != nil {
				return err
			}
			if total < 0 {
				return fmt.Errorf("--for %v: it must not be negative", total)
			}
			ctx, cancel := c.Context(), context.CancelFunc(func() {})
			if total > 0 {
				ctx, cancel = context.WithTimeout(ctx, total)
			}
			defer cancel()
			return a.chaos(ctx, chosen, f)
		},
	}
	f.defineEnsemble(c, "external")
	flags := c.Flags()
	flags.DurationVarP(&f.time, "time", "t", time.Minute, "how long clients work under faults in each round, at least as long as its scenario needs")
	flags.DurationVar(&total, "for", 0, "stop after this time (0: run until interrupted)")
	flags.Uint64VarP(&f.seed, "seed", "s", 0, "seed of the first round; each further round adds 1 (default: random)")
	f.defineFaults(c)
	flags.StringVar(&f.store, "store", "store", "directory for rounds that are not valid (empty: store nothing)")
	return c
}

// chaos runs rounds until ctx ends or a round fails. A violation is not a failure in this sense.
func (a *app) chaos(ctx context.Context, chosen []harness.Scenario, f runFlags) error {
	if len(f.servers) == 0 && f.compose == "" && f.ensemble == "external" {
		return errors.New("give --servers host:port,... or --compose FILE to select the ensemble to break")
	}
	a.note("breaking %s in rounds of %v, starting with seed %d; interrupt to stop", f.on(), f.time, f.seed)
	c := &rounds{app: a, chosen: chosen, flags: f, keep: newFailures(f.store), totals: new(report.Totals)}
	code := a.campaign(c.all(ctx))
	if c.totals.All.Rounds == 0 && code != nil {
		return code
	}
	return a.worst(c.code(), code, a.sum(c.totals))
}

// The type `rounds` runs the chosen scenarios again and again. Each round is a run of one scenario
// on one version of ZooKeeper, with a new seed. First, all chosen scenarios run on the first
// version, then all of them on the second version, and so on. After the last version, the first
// version is next.
type rounds struct {
	*app
	chosen []harness.Scenario
	flags  runFlags
	keep   *failures
	totals *report.Totals
	ledger *report.Ledger // stores each round; nil means that rounds are only added up in totals
	first  int            // the number of the first round
	total  time.Duration  // no round begins once the rounds have taken this time together; zero means no limit
	retry  int            // how many consecutive rounds may fail to begin
	kept   *keeper        // keeps the ensemble between rounds; nil means that each round has a new one
}

// The method `all` returns an iterator over the rounds. It stops when ctx ends, when a round fails,
// or when the time c.total is used up. A violation is not a failure in this sense.
func (c *rounds) all(ctx context.Context) iter.Seq[job] {
	return func(yield func(job) bool) {
		var failed error
		missed := 0 // consecutive rounds that did not begin
		for n := c.first; ctx.Err() == nil && failed == nil && (c.total == 0 || c.totals.All.Took < c.total); n++ {
			more := yield(func() error {
				begun, err := c.runOne(ctx, n)
				if missed++; begun {
					missed = 0
				}
				if err != nil && !begun && missed <= c.retry && ctx.Err() == nil {
					c.note("round %d could not begin, and the next one is tried: %s", n, paragraph(err))
					err = nil
				}
				failed = err
				return failed
			})
			if !more {
				return
			}
		}
	}
}

// round returns the scenario of round n and the flags of its run.
func (c *rounds) round(n int) (f runFlags, s harness.Scenario) {
	f = c.flags
	versions := strings.Split(f.zookeeper, ",")
	f.zookeeper = versions[n/len(c.chosen)%len(versions)]
	f.seed += uint64(n)
	s = f.with(c.chosen[n%len(c.chosen)])
	f.time = f.timeOf(s)
	return f, s
}

// runOne runs a round. A round that is cut short by the end of ctx counts only if it found a
// violation.
func (c *rounds) runOne(ctx context.Context, n int) (begun bool, err error) {
	f, s := c.round(n)
	o, err := f.options(c.app, s)
	if err != nil {
		return false, err
	}
	start := time.Now()
	if c.kept != nil {
		o.Ensemble, o.KeepEnsemble = c.kept.starter(f.zookeeper, o.Ensemble), true
	}
	r, err := c.run(ctx, s, o)
	if c.kept != nil && (r == nil || r.Verdict != checker.Valid && r.Verdict != checker.NotExercised) {
		err = errors.Join(err, c.kept.close(ctx)) // the next round must not suffer from this one
	}
	err = f.auth.explain(err)
	switch {
	case r == nil && ctx.Err() != nil && n > c.first: // interrupted before it began; the earlier rounds are complete
		return false, nil
	case r == nil && ctx.Err() != nil:
		return false, c.interruptedOr(ctx, err)
	case r == nil:
		if c.ledger == nil {
			return false, err
		}
		return false, errors.Join(err, c.ledger.Add(report.Round{Number: n, Scenario: s.Name, Seed: f.seed, Reason: paragraph(err),
			Command: o.Command, Start: start.UTC(), Took: time.Since(start)}))
	case ctx.Err() != nil && r.Verdict != checker.Invalid:
		return true, err
	}
	round := report.NewRound(n, r, c.keep.dir(r))
	round.Version = cmp.Or(round.Version, f.zookeeper) // the embedded ensemble reports none
	if c.kept != nil {
		round.Earlier = c.kept.runs - 1
	}
	if c.ledger != nil {
		err = errors.Join(err, c.ledger.Add(round))
	} else {
		c.totals.Add(round)
	}
	return true, errors.Join(err, c.tellRound(round))
}

// run runs one round and shows its progress.
func (c *rounds) run(ctx context.Context, s harness.Scenario, o harness.Options) (*harness.Result, error) {
	o.Store = c.keep
	defer c.showing(&o)()
	return harness.Run(ctx, s, o)
}

// The type `failures` is a store for runs that are not valid. It keeps the first keptFailures runs
// of each verdict, so a violation is stored even after many runs without a conclusion.
type failures struct {
	*report.Store // nil means that nothing is stored
	kept          map[checker.Verdict]int
}

func (f *failures) Save(r *harness.Result) error {
	if f.Store == nil || f.kept[r.Verdict] == keptFailures || !r.Checked || r.Verdict.Passed() {
		return nil
	}
	f.kept[r.Verdict]++
	return f.Store.Save(r)
}

// newFailures returns a store in dir. If dir is empty, it returns a store that stores nothing.
func newFailures(dir string) *failures {
	f := &failures{kept: make(map[checker.Verdict]int)}
	if dir != "" {
		f.Store = report.Open(dir)
	}
	return f
}

// dir returns the directory of a run, or "" if the run is not stored.
func (f *failures) dir(r *harness.Result) string {
	if f.Store == nil {
		return ""
	}
	return f.Dir(r)
}

// tellRound prints one line about a round. If the round is not valid, it also prints the reason.
func (a *app) tellRound(r report.Round) error {
	var one report.Totals
	one.Add(r)
	if a.json {
		return a.printJSON(map[string]any{"scenario": r.Scenario, "zookeeper": r.Version, "seed": r.Seed, "verdict": r.Verdict, "took_ns": r.Took, "dir": r.Dir,
			"ok": r.OK, "failed": r.Failed, "faults": one.All.Effect, "recovery_ns": one.All.Recovery, "why": r.Reason})
	}
	line := fmt.Sprintf("%s  %-20s seed %-7d %-13v %s", r.Start.Local().Format(time.TimeOnly), r.Scenario, r.Seed, r.Verdict, one.All.Numbers())
	if colored(a.out) {
		line = paintVerdict(line, *r.Verdict)
	}
	if r.Reason != "" {
		line += "\n  " + r.Reason
	}
	if r.Dir != "" {
		line += "\n  report: " + r.Dir + "/" + report.HTMLFile
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// code returns the exit code for all rounds as an error. Rounds that were not exercised do not
// count if at least one round was valid.
func (c *rounds) code() error {
	n := c.totals.All.Verdicts
	switch {
	case n[checker.Invalid] > 0:
		return codeError(exitInvalid)
	case n[checker.Unknown] > 0 || n[checker.Valid] == 0 || c.totals.All.NotBegun > 0:
		return codeError(exitUnknown)
	}
	return nil
}

// sum prints the summary of all rounds.
func (a *app) sum(t *report.Totals) error {
	s := &t.All
	if a.json {
		return a.printJSON(map[string]any{"rounds": s.Rounds, "took_ns": s.Took, "valid": s.Verdicts[checker.Valid], "invalid": s.Verdicts[checker.Invalid],
			"unknown": s.Verdicts[checker.Unknown], "not_exercised": s.Verdicts[checker.NotExercised],
			"ok": s.OK, "failed": s.Failed, "faults": s.Effect, "recovery_ns": s.Recovery})
	}
	_, err := fmt.Fprintf(a.out, "%d rounds in %v: %s\n%s\n", s.Rounds, s.Took.Round(time.Second), s.Words(), s.Numbers())
	return err
}
