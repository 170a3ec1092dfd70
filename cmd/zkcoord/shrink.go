package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/shrink"
	"github.com/zkcoord/zkcoord/internal/zkversion"
	"github.com/zkcoord/zkcoord/scenarios"
)

// shrinkFlags are the flags of zkcoord shrink.
type shrinkFlags struct {
	within time.Duration
	tries  int
	replay int
	out    string
	store  string
}

func (a *app) shrinkCommand() *cobra.Command {
	var f shrinkFlags
	c := &cobra.Command{
		Use:   "shrink RUN",
		Short: "Minimize an invalid run",
		Long: `Repeat the scenario of a stored run on the embedded ensemble in virtual time, with fewer and shorter faults, less time,
fewer clients and fewer operations, as long as the same property is violated. Write the smallest plan to a file and a
report of the smallest run to the store, and print a Go test that fails the same way.

If the original run was on real servers, shrink then runs the plan there a few times. How often the violation occurs
again depends on chance.

Exit codes: 0 the run was minimized as far as possible in the given time, 2 the violation did not occur again, the time
was too short to find out, or shrink was interrupted (it reports and stores its result so far), 3 it could not run.`,
		Example: "  zkcoord shrink store/latest\n  zkcoord shrink store/isolated-follower+zk-lock/latest --out small.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.within <= 0 || f.tries < 1 || f.replay < 0 {
				return fmt.Errorf("--within %v, --tries %d, --replay %d: --within and --tries must be positive, and --replay cannot be negative", f.within, f.tries, f.replay)
			}
			s, r, err := invalidRun(args[0])
			if err != nil {
				return err
			}
			return a.virtually(func() error { return a.shrink(c.Context(), s, r, f) })
		},
	}
	c.Flags().DurationVar(&f.within, "within", time.Minute, "time limit of the search")
	c.Flags().IntVar(&f.tries, "tries", 2, "number of runs of a plan before it is rejected")
	c.Flags().IntVar(&f.replay, "replay", 3, "number of runs of the plan on the original kind and version of servers, unless they were embedded")
	c.Flags().StringVar(&f.out, "out", "small.json", "file for the smallest plan")
	c.Flags().StringVar(&f.store, "store", "store", "directory of the results (empty: store nothing)")
	return c
}

// invalidRun reads a stored run. It fails if the run violates no property.
func invalidRun(dir string) (s harness.Scenario, r *harness.Result, err error) {
	d, err := report.ReadDocument(dir)
	if err != nil {
		return s, nil, err
	}
	// The overall verdict of d is not sufficient. Another program may have written the file, with
	// the overall verdict "invalid" although no property is violated.
	if !slices.ContainsFunc(d.Result.Results, func(one checker.Result) bool { return one.Verdict == checker.Invalid }) {
		return s, nil, fmt.Errorf("%s violates no property: only an invalid run can be minimized", dir)
	}
	if d.Result.Plan, err = report.ReadPlan(filepath.Join(dir, report.FaultsFile)); err != nil {
		return s, nil, err
	}
	s, err = named(d.Scenario)
	return s, d.Result, err
}

// The method `shrinking` minimizes the runs in a.invalid. The minimized runs do not change the
// outcome: the result of `shrinking` is its argument err.
func (a *app) shrinking(ctx context.Context, f runFlags, err error) error {
	if len(a.invalid) == 0 || f.shrink == 0 || ctx.Err() != nil {
		return err
	}
	return a.virtually(func() error {
		// The results of the minimized runs do not change the exit code of the original runs.
		_ = a.campaign(jobs(ctx, a.invalid, func(r *harness.Result) error {
			s, err := named(r.Scenario)
			if err != nil {
				return err
			}
			return a.shrink(ctx, s, r, shrinkFlags{within: f.shrink, tries: 2, store: f.store})
		}))
		return err
	})
}

// shrink minimizes r and reports the result. If f.out is empty, it writes no plan.
func (a *app) shrink(ctx context.Context, s harness.Scenario, r *harness.Result, f shrinkFlags) error {
	a.note("searching for a smaller run that violates %s, for at most %v; the original has %s, %s and %v",
		r.Failed()[0].ID, f.within, count(len(r.Plan), "fault"), count(r.Clients, "client"), r.Time)
	search, cancel := context.WithTimeout(ctx, f.within)
	defer cancel()
	small, err := shrink.Run(search, r, f.tries, func(ctx context.Context, t shrink.Trial) (*harness.Result, error) {
		o := scenarios.VirtualOptions(s, r.Seed)
		o.Nodes = r.Nodes
		again, err := a.runVirtual(ctx, s, t.Options(o))
		return again, errors.Join(err, ctx.Err())
	})
	switch {
	case errors.Is(err, shrink.ErrNotAgain):
		a.note("%s is not violated when the run is repeated on the embedded ensemble: it may need real servers, or depend on chance", small.Property)
		if err := a.replay(ctx, s, r, small, f); err != nil {
			return err
		}
		return codeError(exitUnknown)
	case err != nil && ctx.Err() == nil && search.Err() != nil:
		a.note("%v is too short to repeat the run even once, so there is no conclusion", f.within)
		return codeError(exitUnknown)
	case err != nil && ctx.Err() != nil:
		a.note("interrupted before the run was repeated, so there is no conclusion")
		return codeError(exitUnknown)
	case err != nil:
		return err
	}
	if err := a.tellSmall(small, f); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return codeError(exitUnknown) // the search was interrupted: a longer one may find a smaller run
	}
	return a.replay(ctx, s, r, small, f)
}

// tellSmall writes the plan and the report and prints their paths.
func (a *app) tellSmall(small shrink.Small, f shrinkFlags) error {
	r, plan, dir := small.Result, f.out, ""
	r.Start = time.Now().UTC() // on the virtual clock, Start was in the year 2000
	var unkept []error
	if plan != "" {
		unkept = append(unkept, writePlan(plan, small.Plan))
	}
	again := func() string {
		return (&runFlags{ensemble: "embedded", seed: r.Seed, nodes: r.Nodes, time: small.Time, clients: small.Clients,
			operations: small.Operations, plan: plan, intensity: 0.5, virtual: true}).command(r.Scenario)
	}
	if f.store != "" {
		store := report.Open(f.store)
		unkept = append(unkept, store.Save(r))
		dir = store.Dir(r)
		plan = cmp.Or(plan, filepath.Join(dir, report.FaultsFile))
		r.Command = again()
		unkept = append(unkept, store.Save(r)) // again, now with the command, which may contain `dir`
	}
	test := report.GoTest(r, small.Property)
	if a.json {
		unkept = append(unkept, a.printJSON(map[string]any{"violates": small.Property, "tried": small.Tried, "plan": small.Plan, "clients": small.Clients,
			"time_ns": small.Time, "operations": small.Operations, "seed": r.Seed, "command": again(), "dir": dir, "test": test}))
		return errors.Join(unkept...)
	}
	fmt.Fprintf(a.out, "%s is violated with %s, %s and %v (%d tried)\n", small.Property, count(len(small.Plan), "fault"), count(small.Clients, "client"), small.Time, small.Tried)
	if f.out != "" || dir == "" {
		fmt.Fprintf(a.out, "\n%s\n%s\n", r.Summary(), test)
	}
	if plan != "" {
		fmt.Fprintf(a.out, "again: %s\n", again())
	}
	if dir != "" {
		fmt.Fprintf(a.out, "report: %s\ntest: %s\n", filepath.Join(dir, report.HTMLFile), filepath.Join(dir, report.TestFile))
	}
	return errors.Join(unkept...)
}

func writePlan(path string, p harness.Plan) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// likeIn returns flags that select an ensemble of the kind and the versions on which r ran.
func likeIn(r *harness.Result) *runFlags {
	return &runFlags{ensemble: r.Ensemble, zookeeper: zkversion.Named(r.ZooKeeper)}
}

// The method `replay` runs the minimized plan on the original kind of ensemble and the original
// versions of ZooKeeper, f.replay times. It reports how often the violation occurred. It does
// nothing if the original kind is embedded or external.
func (a *app) replay(ctx context.Context, s harness.Scenario, r *harness.Result, small shrink.Small, f shrinkFlags) error {
	if r.Ensemble == "embedded" || r.Ensemble == "external" || f.replay < 1 {
		return nil
	}
	start, err := likeIn(r).starter(a)
	if err != nil {
		return err
	}
	begun, hits, o := 0, 0, small.Options(harness.Options{Ensemble: start, Nodes: r.Nodes, Seed: r.Seed})
	err = a.campaign(jobs(ctx, make([]int, f.replay), func(int) error {
		begun++
		a.note("running the plan on the %s ensemble, %d of %d", r.Ensemble, begun, f.replay)
		again, err := harness.Run(ctx, s, o)
		switch {
		case ctx.Err() != nil:
			return codeError(exitUnknown)
		case again == nil:
			return err
		}
		if one, _ := again.Of(small.Property); one.Verdict == checker.Invalid {
			hits++
		}
		return err
	}))
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"ensemble": r.Ensemble, "violates": small.Property, "hits": hits, "runs": f.replay})
	}
	_, err = fmt.Fprintf(a.out, "on the %s ensemble: %s was violated in %d of %d runs\n", r.Ensemble, small.Property, hits, f.replay)
	return err
}
