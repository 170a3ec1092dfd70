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

	scenario harness.Scenario
	fault    harness.Fault
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
	var planned []cell
	for _, s := range chosen {
		for _, fault := range s.Faults {
			for _, kind := range kinds {
				planned = append(planned, cell{Scenario: s.Name, Fault: fault.Name(), Ensemble: kind, Seed: f.seed, scenario: s, fault: fault})
			}
		}
	}
	if len(planned) == 0 {
		return errors.New("there is nothing to run: no scenario with such a fault")
	}
	var cells []cell
	code := a.campaign(each(ctx, planned, func(c cell) error {
		unkept := a.runCell(ctx, &c, f)
		a.note("%s under %s on %s: %s %s", c.Scenario, c.Fault, c.Ensemble, c, c.Reason)
		if a.json {
			unkept = errors.Join(unkept, a.printJSON(c))
		}
		cells = append(cells, c)
		return a.worst(c.code(), unkept)
	}))
	if a.json || len(cells) < len(planned) {
		return code
	}
	return a.worst(code, a.printMatrix(kinds, cells))
}

// runCell runs the scenario of a cell under its fault, and fills the cell in. Nothing is started for a fault that the ensemble
// cannot do but the ensemble. The error is of what has a verdict all the same.
func (a *app) runCell(ctx context.Context, c *cell, f runFlags) error {
	s := c.scenario
	f.ensemble, f.faults, f.virtual = c.Ensemble, []string{c.Fault}, f.virtual && c.Ensemble == "embedded"
	f.time = f.timeOf(s)
	s.Faults = []harness.Fault{c.fault}
	o, err := f.options(a, s)
	if err != nil {
		c.Reason = paragraph(err)
		return nil
	}
	store := f.stored(&o)
	start := o.Ensemble
	o.Ensemble = func(ctx context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
		e, err := start(ctx, config)
		if err != nil {
			return nil, err
		}
		if unable := c.fault.Able(harness.NewEnv(e, o.Clients+1)); unable != nil {
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
		return nil
	}
	c.Verdict, c.Command, c.Dir = &result.Verdict, o.Command, store(result)
	for _, one := range result.Failed() {
		c.Reason = one.ID + " " + paragraph(errors.New(one.Reason+" ")) // the first says most
		break
	}
	return err
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

// code is the exit code of the cell as an error.
func (c cell) code() error {
	switch {
	case c.Verdict != nil:
		return codeOf(*c.Verdict)
	case c.String() == "failed":
		return codeError(exitFailed)
	}
	return nil
}
