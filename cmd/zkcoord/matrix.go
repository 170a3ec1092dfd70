package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/scenarios"
)

// A cell is one run of the matrix: a scenario on one column's ensemble, under one of the scenario's
// faults or under all of them.
type cell struct {
	Scenario string           `json:"scenario"`
	Fault    string           `json:"fault"`
	Ensemble string           `json:"ensemble"`
	Version  string           `json:"zookeeper,omitempty"` // as in --zookeeper
	Verdict  *checker.Verdict `json:"verdict,omitempty"`   // nil if the ensemble does not support the fault, or the run failed to start
	Reason   string           `json:"reason,omitempty"`
	Faults   int              `json:"faults"`             // number of faults that took effect
	Evidence string           `json:"evidence,omitempty"` // evidence of the first fault that took effect
	Exposure time.Duration    `json:"exposure_ns"`
	Seed     uint64           `json:"seed"`
	Command  string           `json:"command,omitempty"` // repeats the run
	Dir      string           `json:"dir,omitempty"`     // directory of the stored run

	scenario harness.Scenario
}

// String returns the text in the table.
func (c cell) String() string {
	switch {
	case c.Verdict != nil:
		return c.Verdict.String()
	case strings.HasPrefix(c.Reason, cannot):
		return "-"
	}
	return "failed"
}

const cannot = "not supported by the ensemble"

// A column of the matrix is a kind of ensemble with a version of ZooKeeper.
type column struct{ kind, version string }

// String returns the heading of the column.
func (c column) String() string { return strings.TrimSpace(strings.ToUpper(c.kind) + " " + c.version) }

// columns returns all combinations of kinds and versions.
func columns(kinds, versions string) (all []column) {
	for kind := range strings.SplitSeq(kinds, ",") {
		for version := range strings.SplitSeq(versions, ",") {
			if c := (column{kind, version}); !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// The method `matrix` runs each scenario on each kind of ensemble and each version of ZooKeeper. It
// runs the scenario under each of its faults alone, or under all of them. It prints a table.
func (a *app) matrix(ctx context.Context, names []string, f runFlags) error {
	choose := f.chooseWithFaults
	if f.eachFault {
		choose = f.chooseSharpest
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	on := columns(f.ensemble, f.zookeeper)
	var planned []cell
	for _, s := range chosen {
		for _, faults := range f.rows(s) {
			for _, where := range on {
				c := cell{Scenario: s.Name, Fault: "all", Ensemble: where.kind, Version: where.version, Seed: f.seed, scenario: s}
				c.scenario.Faults = faults
				if !f.together {
					c.Fault = faults[0].Name()
				}
				planned = append(planned, c)
			}
		}
	}
	if len(planned) == 0 {
		hint := ""
		if f.eachFault {
			hint = "; --each-fault runs each fault only in the scenario that depends most on it"
		}
		return fmt.Errorf("nothing to run: no fault is selected for %s (--faults %s%s)", strings.Join(names, ", "), cmp.Or(strings.Join(f.faults, ","), "all"), hint)
	}
	if f.markdown {
		f.printMatrixDocument(a.out, names)
	}
	var cells []cell
	code := a.campaign(jobs(ctx, planned, func(c cell) error {
		unkept := a.runCell(ctx, &c, f)
		a.note("%s: %s %s", c.run(), c, c.Reason)
		switch {
		case a.json:
			unkept = errors.Join(unkept, a.printJSON(c))
		case f.markdown:
			c.printMarkdown(a.out)
		}
		cells = append(cells, c)
		return a.worst(c.code(), unkept)
	}))
	if a.json || f.markdown || len(cells) < len(planned) {
		return code
	}
	return a.worst(code, a.printMatrix(on, cells))
}

// chooseWithFaults returns the scenarios with the given names, each with the selected faults.
func (f *runFlags) chooseWithFaults(names []string) ([]harness.Scenario, error) {
	chosen, err := f.choose(names)
	if err != nil {
		return nil, err
	}
	for i, s := range chosen {
		of := *f
		chosen[i] = of.with(s)
		named, err := of.chosenFaults(chosen[i])
		if err != nil {
			return nil, err
		}
		chosen[i].Faults = slices.DeleteFunc(chosen[i].Faults, func(one harness.Fault) bool {
			return named != nil && !slices.Contains(named, one.Name())
		})
	}
	return chosen, nil
}

// chooseSharpest returns, for each selected fault, the scenario that depends most on what the fault
// breaks. The scenario has only this fault. chooseSharpest leaves out scenarios that `names` does
// not contain; the name "all" stands for every scenario.
func (f *runFlags) chooseSharpest(names []string) (chosen []harness.Scenario, err error) {
	selected := fault.Every()
	if f.faults != nil {
		if selected, err = fault.Named(strings.Join(f.faults, ",")); err != nil {
			return nil, err
		}
	}
	for _, one := range selected {
		s, err := scenarios.Sharpest(one.Name())
		if err != nil {
			return nil, err
		}
		if slices.Equal(names, []string{"all"}) || slices.Contains(names, s.Name) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// The method `rows` returns the faults of each row that the scenario s has in the matrix. With
// --together, there is a single row with all faults. Otherwise each row has one fault.
func (f *runFlags) rows(s harness.Scenario) (rows [][]harness.Fault) {
	if f.together {
		return [][]harness.Fault{s.Faults}
	}
	for _, one := range s.Faults {
		rows = append(rows, []harness.Fault{one})
	}
	return rows
}

// run describes the run of the cell.
func (c cell) run() string {
	return fmt.Sprintf("%s under %s on %s", c.Scenario, c.Fault, strings.TrimSpace(c.Ensemble+" "+c.Version))
}

// runCell runs the scenario of a cell under its faults and sets the cell's result. If the ensemble
// supports none of the faults, runCell closes the ensemble without a run.
//
// If there is no verdict, runCell returns no error, because the cell's field Reason says why. If
// there is a verdict, runCell returns an error only if the result could not be stored, or if the
// workload or the ensemble could not be closed.
func (a *app) runCell(ctx context.Context, c *cell, f runFlags) error {
	s := c.scenario
	f.ensemble, f.zookeeper, f.virtual = c.Ensemble, c.Version, f.virtual && c.Ensemble == "embedded"
	f.processes = f.processes || s.ClientProcesses
	f.time = f.timeOf(s)
	if !f.together || f.faults != nil {
		f.faults = fault.Names(s.Faults)
	}
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
		if unable := unableToAll(s, e, o); unable != nil {
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
	for _, one := range result.Results {
		c.Exposure += one.Exposure
	}
	for _, one := range result.Stats.Faults {
		if one.Evidence == "" {
			continue
		}
		if c.Faults++; c.Faults == 1 {
			c.Evidence = one.Evidence
		}
	}
	for _, one := range result.Failed() {
		c.Reason = one.ID + " " + paragraph(errors.New(one.Reason+" ")) // Failed returns the most serious result first
		break
	}
	return err
}

// unableToAll returns an error if e supports none of the faults of s. It returns nil if e supports
// at least one of them, or if s has no faults.
func unableToAll(s harness.Scenario, e ensemble.Ensemble, o harness.Options) (err error) {
	env := harness.NewEnv(e, o.Clients+1)
	env.ClientProcesses = s.ClientProcesses || o.ClientProcesses
	for _, one := range s.Faults {
		if err = one.Able(env); err == nil {
			return nil
		}
	}
	return err
}

// printMatrix prints the table. For each run that is not valid, it then prints the reason, the
// command that repeats the run, and the path of the report.
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

const matrixDocument = `# Each fault on real servers

Each fault ran alone, in the scenario that depends most on the part that the fault breaks.
[faults.md](faults.md) describes the faults. This command printed the table on %s:

    %s

A fault takes effect if there is evidence for it; the table has the evidence of the first time.
Exposure is how long a property did not hold under faults outside of its promise. A dash as the
result means that the ensemble does not support the fault.

| fault | scenario | servers | result | took effect | evidence | exposure |
| --- | --- | --- | --- | --- | --- | --- |
`

// printMatrixDocument prints the beginning of a document, up to the head of its table.
func (f *runFlags) printMatrixDocument(w io.Writer, names []string) {
	command := f.command(strings.Join(names, " ") + " --matrix --each-fault --markdown")
	fmt.Fprintf(w, matrixDocument, time.Now().Format(time.DateOnly), command)
}

// printMarkdown prints the cell as a row of the document's table.
func (c cell) printMarkdown(w io.Writer) {
	effect, exposure := "", ""
	if c.Verdict != nil {
		effect = fmt.Sprint(c.Faults)
	}
	if c.Exposure > 0 {
		exposure = c.Exposure.Round(time.Millisecond).String()
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", c.Fault, c.Scenario, strings.TrimSpace(c.Ensemble+" "+c.Version), c, effect,
		strings.ReplaceAll(c.Evidence, "|", `\|`), exposure)
}

// code returns the exit code of the cell as an error.
func (c cell) code() error {
	switch {
	case c.Verdict != nil:
		return codeOf(*c.Verdict)
	case c.String() == "failed":
		return codeError(exitFailed)
	}
	return nil
}
