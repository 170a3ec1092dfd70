package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/report"
)

func (a *app) checkCommand() *cobra.Command {
	var scenario, page, edn string
	c := &cobra.Command{
		Use:   "check HISTORY",
		Short: "Judge a stored history again",
		Long: `Judge a history with the current checkers of its scenario. HISTORY is a history.jsonl or the directory of a run.

Exit codes: 0 valid, 1 invalid, 2 unknown or not exercised, 3 the history could not be read.`,
		Example: `  zkcoord check store/latest
  zkcoord check store/lock-session-loss/latest/history.jsonl --report again.html
  zkcoord check store/latest --edn history.edn`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.judged(c, args[0], scenario)
			if err != nil {
				return err
			}
			told := a.tell(r, "")
			if page != "" {
				told = a.worst(told, written(page, func(f io.Writer) error { return report.WriteHTML(f, r) }))
			}
			if edn != "" {
				told = a.worst(told, written(edn, r.History.WriteEDN))
			}
			return told
		},
	}
	c.Flags().StringVar(&scenario, "scenario", "", "use the checkers of this scenario instead of the history's own")
	c.Flags().StringVar(&edn, "edn", "", "write the operations and faults to this file, as a Jepsen history")
	c.Flags().StringVar(&page, "report", "", "write a report.html to this file")
	_ = c.RegisterFlagCompletionFunc("scenario", scenarioNames)
	return c
}

// The method `judged` reads the history at path and judges it by the checkers of the given
// scenario. If `scenario` is empty, it uses the scenario that the history names.
func (a *app) judged(c *cobra.Command, path, scenario string) (*harness.Result, error) {
	h, err := report.ReadHistory(path)
	if err != nil {
		return nil, err
	}
	if scenario == "" {
		scenario, _, _ = strings.Cut(h.Scenario, "+") // a mutant is judged like its scenario
	}
	if scenario == "" {
		return nil, fmt.Errorf("%s does not name its scenario: give --scenario", path)
	}
	s, err := named(scenario)
	if err != nil {
		return nil, err
	}
	r := a.storedRun(path)
	r.Scenario, r.Claim, r.Guarantees, r.Seed, r.Ensemble = h.Scenario, s.Claim, s.Guarantees, h.Seed, h.Ensemble
	if r.Start.IsZero() {
		r.Start = h.Start // in the year 2000 if the run had a virtual clock
	}
	if r.Scenario == "" {
		r.Scenario = s.Name
	}
	if r.Took == 0 {
		r.Took = h.End()
	}
	r.History, r.Results, r.Checked = h, harness.Check(c.Context(), s, h), true
	r.Verdict = checker.Overall(r.Results)
	return r, nil
}

// storedRun returns the data that a store has about the history's run, without the history itself.
// If the file is outside of a store, the result is empty. The history is then judged without that
// data.
func (a *app) storedRun(path string) *harness.Result {
	dir := path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir = filepath.Dir(path)
	}
	d, err := report.ReadDocument(dir)
	if err != nil {
		d.Result = &harness.Result{}
	}
	plan, planless := report.ReadPlan(filepath.Join(dir, report.FaultsFile))
	d.Result.Plan = plan
	for _, err := range []error{err, planless} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.note("the history is judged without a file that could not be read: %s", paragraph(err))
		}
	}
	return d.Result
}

// The function `written` creates a file with the output of `write`.
func written(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
