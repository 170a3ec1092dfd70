package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/report"
)

// keptFailures is the maximum number of runs of each verdict that chaos stores, because it may run
// for days.
const keptFailures = 10

func (a *app) chaosCommand() *cobra.Command {
	var f runFlags
	var total time.Duration
	c := &cobra.Command{
		Use:   "chaos [SCENARIO]...",
		Short: "Break an existing ensemble until interrupted",
		Long: `Chaos runs scenarios (default: lock) in turn against an existing ensemble until it is interrupted. Each round has a new
seed. Chaos prints a line for each round and a summary. It stores rounds that are not valid, up to ten of each verdict.

Give the addresses of the ensemble to break only the clients' own connections and sessions. Give the docker-compose
file of a project that runs on this machine to kill, pause and cut off its servers as well.

Use it only with an ensemble for experiments. ` + authHelp + `

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
	flags.DurationVarP(&f.time, "time", "t", time.Minute, "how long clients work under faults in each round")
	flags.DurationVar(&total, "for", 0, "stop after this time (0: run until interrupted)")
	flags.Uint64VarP(&f.seed, "seed", "s", 0, "seed of the first round; each further round adds 1 (default: random)")
	f.defineFaults(c)
	flags.StringVar(&f.store, "store", "store", "directory for rounds that are not valid (empty: store nothing)")
	return c
}

// chaos runs rounds until ctx ends or a round fails. A round that is cut short by the end of ctx
// counts only if it found a violation.
func (a *app) chaos(ctx context.Context, chosen []harness.Scenario, f runFlags) error {
	if len(f.servers) == 0 && f.compose == "" && f.ensemble == "external" {
		return errors.New("give --servers host:port,... or --compose FILE to select the ensemble to break")
	}
	keep := &failures{kept: make(map[checker.Verdict]int)}
	if f.store != "" {
		keep.Store = report.Open(f.store)
	}
	a.note("breaking %s in rounds of %v, starting with seed %d; interrupt to stop", f.on(), f.time, f.seed)
	var total tally
	var failed error
	begun := time.Now()
	code := a.campaign(func(yield func(job) bool) {
		for n := 0; ctx.Err() == nil && failed == nil; n++ {
			yield(func() error {
				r, err := a.round(ctx, chosen[n%len(chosen)], f, keep)
				f.seed++
				switch {
				case r == nil && ctx.Err() != nil && n > 0: // interrupted before it began; the earlier rounds are complete
				case r == nil:
					failed = a.interruptedOr(ctx, err)
				case ctx.Err() == nil || r.Verdict == checker.Invalid:
					total.add(r)
					failed = errors.Join(err, a.tellRound(r, keep))
				default:
					failed = err
				}
				return failed
			})
		}
	})
	if total.rounds == 0 && code != nil {
		return code
	}
	return a.worst(total.code(), code, a.sum(total, time.Since(begun)))
}

// round runs one round and shows its progress.
func (a *app) round(ctx context.Context, s harness.Scenario, f runFlags, keep *failures) (*harness.Result, error) {
	s = f.with(s)
	o, err := f.options(a, s)
	if err != nil {
		return nil, err
	}
	o.Store = keep
	defer a.showing(&o)()
	result, err := harness.Run(ctx, s, o)
	return result, f.auth.explain(err)
}

// failures is a store for runs that are not valid. It keeps the first few of each verdict, so a
// violation is stored even after many runs without a conclusion.
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

// tellRound prints the line of a round, with the reason if it is not valid.
func (a *app) tellRound(r *harness.Result, keep *failures) error {
	dir := ""
	if keep.Store != nil {
		dir = keep.Dir(r)
	}
	var one tally
	one.add(r)
	if a.json {
		return a.printJSON(map[string]any{"scenario": r.Scenario, "seed": r.Seed, "verdict": r.Verdict, "took_ns": r.Took, "dir": dir,
			"ok": one.ok, "failed": one.failed, "faults": one.bit, "recovery_ns": one.recovery, "why": why(r)})
	}
	line := fmt.Sprintf("%s  %-20s seed %-7d %-13v %s", r.Start.Local().Format(time.TimeOnly), r.Scenario, r.Seed, r.Verdict, one.numbers())
	if colored(a.out) {
		line = paintVerdict(line, r.Verdict)
	}
	if reason := why(r); reason != "" {
		line += "\n  " + reason
	}
	if dir != "" {
		line += "\n  report: " + dir + "/" + report.HTMLFile
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}

// why returns the first reason for which r is not valid.
func why(r *harness.Result) string {
	for _, one := range r.Failed() {
		return one.ID + ": " + one.Reason
	}
	return ""
}

// A tally counts the results of rounds.
type tally struct {
	rounds     int
	verdicts   map[checker.Verdict]int
	ok, failed int
	bit        int
	recovery   time.Duration // the longest after a fault
}

func (t *tally) add(r *harness.Result) {
	if t.verdicts == nil {
		t.verdicts = make(map[checker.Verdict]int)
	}
	t.rounds++
	t.verdicts[r.Verdict]++
	for _, op := range r.Stats.Operations {
		t.ok += op.OK
		t.failed += op.Fail + op.Info
	}
	for _, fault := range r.Stats.Faults {
		if fault.Evidence != "" {
			t.bit++
		}
		t.recovery = max(t.recovery, fault.Recovery)
	}
}

func (t *tally) numbers() string {
	return fmt.Sprintf("%s operations succeeded, %s did not; %d faults took effect, longest recovery %v",
		report.Thousands(t.ok), report.Thousands(t.failed), t.bit, t.recovery.Round(10*time.Millisecond))
}

// code returns the verdict on all rounds. A round without a conclusion is ignored unless no round
// was valid.
func (t *tally) code() error {
	switch {
	case t.verdicts[checker.Invalid] > 0:
		return codeError(exitInvalid)
	case t.verdicts[checker.Unknown] > 0 || t.verdicts[checker.Valid] == 0:
		return codeError(exitUnknown)
	}
	return nil
}

// sum prints the summary.
func (a *app) sum(t tally, took time.Duration) error {
	if a.json {
		return a.printJSON(map[string]any{"rounds": t.rounds, "took_ns": took, "valid": t.verdicts[checker.Valid], "invalid": t.verdicts[checker.Invalid],
			"unknown": t.verdicts[checker.Unknown], "not_exercised": t.verdicts[checker.NotExercised],
			"ok": t.ok, "failed": t.failed, "faults": t.bit, "recovery_ns": t.recovery})
	}
	var parts []string
	for _, v := range []checker.Verdict{checker.Invalid, checker.Unknown, checker.NotExercised, checker.Valid} {
		if n := t.verdicts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, v))
		}
	}
	_, err := fmt.Fprintf(a.out, "%d rounds in %v: %s\n%s\n", t.rounds, took.Round(time.Second), cmp.Or(strings.Join(parts, ", "), "none complete"), t.numbers())
	return err
}
