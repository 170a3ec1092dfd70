package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/report"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print versions",
		Example: "  zkcoord version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			versions := report.Versions()
			if a.json {
				return a.printJSON(versions)
			}
			for _, name := range slices.Sorted(maps.Keys(versions)) {
				fmt.Fprintf(a.out, "%-13s %s\n", name, versions[name])
			}
			return nil
		},
	}
}
