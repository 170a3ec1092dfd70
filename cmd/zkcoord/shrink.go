package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/harness/shrink"
)

// shrinkFlags are those of zkcoord shrink.
type shrinkFlags struct {
	within time.Duration
	tries  int
	out    string
	store  string
}

func (a *app) shrinkCommand() *cobra.Command {
	var f shrinkFlags
	c := &cobra.Command{
		Use:   "shrink RUN",
		Short: "Make an invalid run small",
		Long: `Shrink runs the scenario of a stored run again and again on the embedded ensemble, on the virtual clock, with fewer
faults, shorter ones, less time and fewer clients, for as long as the same property is violated. It writes the smallest
plan to a file, and a report of the smallest run to the store.

Exit codes: 0 it was made as small as it gets, 2 the violation did not come back, 3 it could not run.`,
		Example: "  zkcoord shrink store/latest\n  zkcoord shrink store/isolated-follower+zk-lock/latest --out small.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, d, plan, err := invalidRun(args[0])
			if err != nil {
				return err
			}
			return a.virtually(func() error { return a.shrink(c.Context(), s, d, plan, f) })
		},
	}
	c.Flags().DurationVar(&f.within, "within", time.Minute, "for how long to search")
	c.Flags().IntVar(&f.tries, "tries", 2, "how often to run a plan before it counts as harmless")
	c.Flags().StringVar(&f.out, "out", "small.json", "file for the smallest plan")
	c.Flags().StringVar(&f.store, "store", "store", "directory of the results (empty: keep nothing)")
	return c
}

// invalidRun reads what a stored run was.
func invalidRun(dir string) (harness.Scenario, report.Document, harness.Plan, error) {
	var none harness.Scenario
	d, err := report.ReadDocument(dir)
	if err != nil {
		return none, d, nil, err
	}
	if d.Verdict != checker.Invalid {
		return none, d, nil, fmt.Errorf("%s is %v: only an invalid run can be made small", dir, d.Verdict)
	}
	plan, err := report.ReadPlan(dir + "/" + report.FaultsFile)
	if err != nil {
		return none, d, nil, err
	}
	name, mutant, _ := strings.Cut(d.Scenario, "+")
	chosen, err := choose([]string{name}, mutant)
	if err != nil {
		return none, d, nil, err
	}
	return chosen[0], d, plan, nil
}

func (a *app) shrink(ctx context.Context, s harness.Scenario, d report.Document, plan harness.Plan, f shrinkFlags) error {
	id := d.Failed()[0].ID
	start := shrink.Trial{Plan: plan, Clients: d.Clients, Time: d.Time}
	a.note("looking for a smaller run that violates %s, for %v at most; it has %d faults, %d clients and %v", id, f.within, len(plan), d.Clients, d.Time)
	search, cancel := context.WithTimeout(ctx, f.within)
	defer cancel()
	violates := func(ctx context.Context, t shrink.Trial) (bool, error) {
		for range max(1, f.tries) {
			r, err := a.attempt(ctx, s, d.Seed, t, nil)
			if err != nil {
				return false, err
			}
			if one, _ := r.Of(id); one.Verdict == checker.Invalid {
				return true, nil
			}
		}
		return false, nil
	}
	switch again, err := violates(search, start); {
	case err != nil:
		return err
	case !again:
		a.note("%s is not violated when the run is done again on the embedded ensemble: it may need the real one, or luck", id)
		return codeError(exitUnknown)
	}
	small, tried, err := shrink.Minimize(search, start, violates)
	if err != nil {
		return err
	}
	return a.tellSmall(ctx, s, d.Seed, id, small, tried, f)
}

// attempt runs a trial once, on the virtual clock.
func (a *app) attempt(ctx context.Context, s harness.Scenario, seed uint64, t shrink.Trial, store harness.Store) (*harness.Result, error) {
	f := runFlags{ensemble: "embedded", seed: seed, time: t.Time, clients: t.Clients, intensity: 0.5, virtual: true}
	o, err := f.options(a, s)
	if err != nil {
		return nil, err
	}
	o.Plan, o.Store = t.Plan, store
	r, err := a.runVirtual(ctx, s, o)
	if err == nil {
		err = ctx.Err()
	}
	return r, err
}

// tellSmall writes the plan, runs it once more for its report, and prints both.
func (a *app) tellSmall(ctx context.Context, s harness.Scenario, seed uint64, id string, t shrink.Trial, tried int, f shrinkFlags) error {
	text, err := json.MarshalIndent(t.Plan, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	var store *report.Store
	var keep harness.Store
	if f.store != "" {
		store = report.Open(f.store)
		keep = store
	}
	r, err := a.attempt(ctx, s, seed, t, keep)
	if r == nil {
		return err
	}
	again := runFlags{ensemble: "embedded", seed: seed, time: t.Time, clients: t.Clients, plan: f.out, intensity: 0.5, virtual: true}
	if a.json {
		return errors.Join(err, a.printJSON(map[string]any{"violates": id, "tried": tried, "plan": t.Plan, "clients": t.Clients,
			"time_ns": t.Time, "seed": seed, "command": again.command(s)}))
	}
	fmt.Fprintf(a.out, "%s is violated with %d faults, %d clients and %v (%d tried)\n\n", id, len(t.Plan), t.Clients, t.Time, tried)
	fmt.Fprintf(a.out, "%s\n%s\n\nagain: %s\n", r.Summary(), report.GoTest(s, seed, id, t.Plan, t.Clients, t.Time), again.command(s))
	if store != nil {
		fmt.Fprintf(a.out, "report: %s/%s\n", store.Dir(r), report.HTMLFile)
	}
	return err
}
