package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/bench"
	"github.com/zkcoord/zkcoord/internal/kinds"
)

func (a *app) benchCommand() *cobra.Command {
	var kind, version, file string
	var o bench.Options
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the primitives side by side with other libraries",
		Long: `Bench starts an ensemble and lets zkcoord, go-zookeeper's Lock, Curator and kazoo (where they are installed) and
the bare requests that a recipe needs (the floor) do the same work in turns, round after round. It prints zkcoord's
figures, their ratios to the others' (of rates, more is better; of times in ms, less is), and how many requests
each operation took on the wire.`,
		Example: `  zkcoord bench --ensemble container
  zkcoord bench --ensemble process --rows "lock,queue 4+4" --rounds 9 --out bench.json
  zkcoord bench --libraries zkcoord,zk.Lock --max-clients 8`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			// Zero stands for the default only where nothing was given.
			if o.Nodes < 1 || o.Rounds < 1 || o.Time < 0 || o.Time == 0 && c.Flags().Changed("time") {
				return errors.New("--nodes, --rounds and --time have to be more than nothing")
			}
			if o.Start, err = serving(kind, version, "", a); err != nil {
				return err
			}
			o.Progress = a.note
			report, err := bench.Run(c.Context(), o)
			if report == nil || len(report.Rows) == 0 {
				return err
			}
			return errors.Join(err, a.tellBench(report, file))
		},
	}
	flags := c.Flags()
	flags.StringVarP(&kind, "ensemble", "e", "embedded", "kind of ensemble: "+strings.Join(kinds.Names(), ", "))
	defineZooKeeper(c, &version)
	flags.IntVarP(&o.Nodes, "nodes", "n", 3, "nodes of the ensemble")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds that count")
	flags.DurationVarP(&o.Time, "time", "t", 0, "time of a round (default 1s; some rows take a multiple)")
	flags.StringSliceVar(&o.Rows, "rows", nil, "only rows whose names begin with one of these")
	flags.StringSliceVar(&o.Libraries, "libraries", nil, "only these, and zkcoord (default: all that are installed)")
	flags.IntVar(&o.MaxClients, "max-clients", 0, "leave out rows with more clients (0: none)")
	flags.StringVarP(&file, "out", "o", "", "write everything that was measured to this file, as JSON")
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(kinds.Names()...))
	return c
}

func (a *app) tellBench(r *bench.Report, file string) error {
	if file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(r)
	}
	return r.WriteTable(a.out)
}
