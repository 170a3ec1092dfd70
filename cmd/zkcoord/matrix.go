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
	"github.com/zkcoord/zkcoord/harness/report"
)

// cell is a run of the matrix: a scenario under one fault on one kind of ensemble.
type cell struct {
	Scenario string           `json:"scenario"`
	Fault    string           `json:"fault"`
	Ensemble string           `json:"ensemble"`
	Verdict  *checker.Verdict `json:"verdict,omitempty"` // nil if the ensemble cannot do it, or it could not run
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

// matrix runs each scenario under each of its faults alone, on each of the kinds of ensembles, and prints a table.
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
	kinds := strings.Split(f.ensemble, ",")
	var cells []cell
	var unkept []error
	for _, s := range chosen {
		for _, fault := range s.Faults {
			for _, kind := range kinds {
				if ctx.Err() != nil {
					return codeError(exitUnknown)
				}
				c, err := a.runCell(ctx, s, fault, kind, f)
				a.note("%s under %s on %s: %s %s", c.Scenario, c.Fault, c.Ensemble, c, c.Reason)
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
		if err := a.printMatrix(kinds, cells); err != nil {
			return err
		}
	}
	return a.both(worst(cells), errors.Join(unkept...))
}

// runCell runs one scenario under one fault. Nothing is started for a fault that the ensemble cannot do but the ensemble. The
// error is of what has a verdict all the same.
func (a *app) runCell(ctx context.Context, s harness.Scenario, fault harness.Fault, kind string, f runFlags) (cell, error) {
	c := cell{Scenario: s.Name, Fault: fault.Name(), Ensemble: kind, Seed: f.seed}
	f.ensemble, f.faults, f.virtual = kind, []string{fault.Name()}, f.virtual && kind == "embedded"
	f.time = f.timeOf(s)
	s.Faults = []harness.Fault{fault}
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
		if unable := fault.Able(harness.NewEnv(e, o.Clients+1)); unable != nil {
			c.Reason = fmt.Sprintf("%s: %s", cannot, paragraph(unable))
			return nil, errors.Join(unable, e.Close(context.WithoutCancel(ctx)))
		}
		return e, nil
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
func (a *app) printMatrix(kinds []string, cells []cell) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "SCENARIO\tFAULT\t%s\n", strings.ToUpper(strings.Join(kinds, "\t")))
	for i, c := range cells {
		if i%len(kinds) == 0 {
			fmt.Fprintf(w, "%s\t%s", c.Scenario, c.Fault)
		}
		fmt.Fprintf(w, "\t%s", c)
		if i%len(kinds) == len(kinds)-1 {
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
		fmt.Fprintf(a.out, "\n%s under %s on %s: %s %s\nagain: %s\n", c.Scenario, c.Fault, c.Ensemble, c, c.Reason, c.Command)
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
