package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/report"
)

// cell is a run of the matrix: a scenario under one fault, or under all of its faults, in one column.
type cell struct {
	Scenario string           `json:"scenario"`
	Fault    string           `json:"fault"`
	Ensemble string           `json:"ensemble"`
	Version  string           `json:"zookeeper,omitempty"` // as --zookeeper names it
	Verdict  *checker.Verdict `json:"verdict,omitempty"`   // nil if the ensemble cannot do it, or it could not run
	Reason   string           `json:"reason,omitempty"`
	Seed     uint64           `json:"seed"`
	Command  string           `json:"command,omitempty"` // does the same run again
	Dir      string           `json:"dir,omitempty"`     // where it is stored
}

// String is what the table has.
func (c cell) String() string {
	switch {
	case c.Verdict != nil:
		return c.Verdict.String()
	case strings.HasPrefix(c.Reason, cannot):
		return "-"
	}
	return "failed"
}

const cannot = "the ensemble cannot"

// column is what a run of the matrix is on: a kind of ensemble, of a version of ZooKeeper if there are servers.
type column struct{ kind, version string }

// String heads the column.
func (c column) String() string { return strings.TrimSpace(strings.ToUpper(c.kind) + " " + c.version) }

// columns are all kinds with all versions. A model is of no version.
func columns(kinds, versions string) (all []column) {
	for kind := range strings.SplitSeq(kinds, ",") {
		for version := range strings.SplitSeq(versions, ",") {
			if kind == "embedded" {
				version = ""
			}
			if c := (column{kind, version}); !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// matrix runs each scenario under each of its faults alone, or under all of them, on each kind of ensemble and version, and
// prints a table.
func (a *app) matrix(ctx context.Context, names []string, f runFlags) error {
	chosen, err := f.choose(names)
	if err != nil {
		return err
	}
	for i, s := range chosen {
		of := f
		chosen[i] = of.with(s)
		named, err := of.chosenFaults(chosen[i])
		if err != nil {
			return err
		}
		chosen[i].Faults = slices.DeleteFunc(chosen[i].Faults, func(one harness.Fault) bool {
			return named != nil && !slices.Contains(named, one.Name())
		})
	}
	on := columns(f.ensemble, f.zookeeper)
	var cells []cell
	var unkept []error
	for _, s := range chosen {
		for _, faults := range f.rows(s) {
			for _, where := range on {
				if ctx.Err() != nil {
					return codeError(exitUnknown)
				}
				c, err := a.runCell(ctx, s, faults, where, f)
				a.note("%s: %s %s", c.run(), c, c.Reason)
				unkept = append(unkept, err)
				if a.json {
					if err := a.printJSON(c); err != nil {
						return err
					}
				}
				cells = append(cells, c)
			}
		}
	}
	if len(cells) == 0 {
		return errors.New("there is nothing to run: no scenario with such a fault")
	}
	if !a.json {
		if err := a.printMatrix(on, cells); err != nil {
			return err
		}
	}
	return a.both(worst(cells), errors.Join(unkept...))
}

// rows are the faults of each row of a scenario: one alone, or with --together all.
func (f *runFlags) rows(s harness.Scenario) (rows [][]harness.Fault) {
	if f.together {
		return [][]harness.Fault{s.Faults}
	}
	for _, one := range s.Faults {
		rows = append(rows, []harness.Fault{one})
	}
	return rows
}

// run says in words what was run.
func (c cell) run() string {
	return fmt.Sprintf("%s under %s on %s", c.Scenario, c.Fault, column{c.Ensemble, c.Version})
}

// runCell runs one scenario under some faults. Nothing is started for faults of which the ensemble can do none but the ensemble.
// The error is of what has a verdict all the same.
func (a *app) runCell(ctx context.Context, s harness.Scenario, faults []harness.Fault, on column, f runFlags) (cell, error) {
	c := cell{Scenario: s.Name, Fault: "all", Ensemble: on.kind, Version: on.version, Seed: f.seed}
	f.ensemble, f.zookeeper, f.virtual = on.kind, on.version, f.virtual && on.kind == "embedded"
	f.time = f.timeOf(s)
	s.Faults = faults
	if !f.together {
		c.Fault = faults[0].Name()
	}
	if !f.together || f.faults != nil {
		f.faults = fault.Names(faults)
	}
	o, err := f.options(a, s)
	if err != nil {
		c.Reason = paragraph(err)
		return c, nil
	}
	store := f.stored(&o)
	start := o.Ensemble
	o.Ensemble = func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		e, err := start(ctx, config)
		if err != nil {
			return nil, err
		}
		var unable error
		for _, one := range faults {
			if unable = one.Able(harness.NewEnv(e, o.Clients+1)); unable == nil {
				return e, nil
			}
		}
		if unable == nil {
			return e, nil // a scenario without faults
		}
		c.Reason = fmt.Sprintf("%s: %s", cannot, paragraph(unable))
		return nil, errors.Join(unable, e.Close(context.WithoutCancel(ctx)))
	}
	result, err := a.runner(f.virtual)(ctx, s, o)
	if result == nil {
		if c.Reason == "" {
			c.Reason = paragraph(err)
		}
		return c, nil
	}
	c.Verdict, c.Command, c.Dir = &result.Verdict, o.Command, store(result)
	for _, one := range result.Failed() {
		c.Reason = one.ID + " " + paragraph(errors.New(one.Reason+" ")) // the first says most
		break
	}
	return c, err
}

// printMatrix prints the table, and below it how to look at what is not valid and do it again.
func (a *app) printMatrix(on []column, cells []cell) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "SCENARIO\tFAULT")
	for _, c := range on {
		fmt.Fprintf(w, "\t%s", c)
	}
	fmt.Fprintln(w)
	for i, c := range cells {
		if i%len(on) == 0 {
			fmt.Fprintf(w, "%s\t%s", c.Scenario, c.Fault)
		}
		fmt.Fprintf(w, "\t%s", c)
		if i%len(on) == len(on)-1 {
			fmt.Fprintln(w)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range cells {
		if c.Verdict == nil || c.Verdict.Passed() {
			continue
		}
		fmt.Fprintf(a.out, "\n%s: %s %s\nagain: %s\n", c.run(), c, c.Reason, c.Command)
		if c.Dir != "" {
			fmt.Fprintf(a.out, "report: %s\n", filepath.Join(c.Dir, report.HTMLFile))
		}
	}
	return nil
}

// worst is the exit code of all cells: a violation outweighs what could not run, and that what is not known.
func worst(cells []cell) error {
	code := exitValid
	rank := map[int]int{exitValid: 0, exitUnknown: 1, exitFailed: 2, exitInvalid: 3}
	for _, c := range cells {
		one := exitValid
		var told codeError
		switch {
		case c.Verdict != nil && errors.As(codeOf(*c.Verdict), &told):
			one = int(told)
		case c.String() == "failed":
			one = exitFailed
		}
		if rank[one] > rank[code] {
			code = one
		}
	}
	if code == exitValid {
		return nil
	}
	return codeError(code)
}
