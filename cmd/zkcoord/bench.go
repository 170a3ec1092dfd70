package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/bench"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/zktest"
)

func (a *app) benchCommand() *cobra.Command {
	var kind, version, file string
	var o bench.Options
	var markdown bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the primitives and other libraries side by side",
		Long: `Start an ensemble and measure zkcoord, go-zookeeper's Lock, and Curator and kazoo if they are installed. Also measure the
floor: the bare requests that no recipe can avoid. All libraries do the same work in turns, in several rounds.
Bench prints zkcoord's figures, their ratios to those of the others, and the number of requests per operation. For
rates, a higher ratio is better. For times, which are in ms, a lower ratio is better.`,
		Example: `  zkcoord bench --ensemble container
  zkcoord bench --ensemble process --rows "lock,queue 4+4" --rounds 9 --out bench.json
  zkcoord bench --libraries zkcoord,zk.Lock --max-clients 8`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			// Without the flag, the time is zero and means the default. An explicit --time 0 is an
			// error.
			if o.Nodes < 1 || o.Rounds < 1 || o.Time < 0 || o.Time == 0 && c.Flags().Changed("time") {
				return fmt.Errorf("--nodes %d, --rounds %d, --time %v: all must be positive", o.Nodes, o.Rounds, o.Time)
			}
			if o.Start, err = serving(kind, version, "", zktest.Options{}, a); err != nil {
				return err
			}
			o.Progress = a.note
			report, err := bench.Run(c.Context(), o)
			if report == nil || len(report.Rows) == 0 {
				return err
			}
			return errors.Join(err, a.tellBench(report, file, markdown))
		},
	}
	flags := c.Flags()
	flags.StringVarP(&kind, "ensemble", "e", "embedded", "kind of ensemble: "+strings.Join(kinds.Names(), ", "))
	defineZooKeeper(c, &version)
	flags.IntVarP(&o.Nodes, "nodes", "n", 3, "nodes of the ensemble")
	flags.IntVar(&o.Rounds, "rounds", 5, "number of measured rounds")
	flags.DurationVarP(&o.Time, "time", "t", 0, "duration of a round (default 1s; some rows take a multiple)")
	flags.StringSliceVar(&o.Rows, "rows", nil, "run only rows whose names begin with one of these")
	flags.StringSliceVar(&o.Libraries, "libraries", nil, "measure only these and zkcoord (default: all installed ones)")
	flags.IntVar(&o.MaxClients, "max-clients", 0, "skip rows with more clients (0: skip none)")
	flags.BoolVar(&markdown, "markdown", false, "print the requests and the ratios as tables in Markdown")
	flags.StringVarP(&file, "out", "o", "", "write all measurements to this file, as JSON")
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(kinds.Names()...))
	return c
}

func (a *app) tellBench(r *bench.Report, file string, markdown bool) error {
	if file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case a.json:
		return a.printJSON(r)
	case markdown:
		return r.WriteMarkdown(a.out)
	}
	return r.WriteTable(a.out)
}
