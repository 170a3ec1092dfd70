package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/scenarios"
)

// The type `listing` is the output of zkcoord list. Its fields are those of the JSON output.
type listing struct {
	Scenarios []listedScenario `json:"scenarios,omitempty"`
	Faults    []listedFault    `json:"faults,omitempty"`
	Mutants   []listedMutant   `json:"mutants,omitempty"`
	Ensembles []string         `json:"ensembles,omitempty"`
}

type listedScenario struct {
	Name       string   `json:"name"`
	Claim      string   `json:"claim"`
	Guarantees []string `json:"guarantees,omitempty"`
	Faults     []string `json:"faults,omitempty"`
	Properties []string `json:"properties"`
	Mutants    []string `json:"mutants,omitempty"`
}

type listedFault struct {
	Name      string   `json:"name"`
	Does      string   `json:"does,omitempty"`
	Scenarios []string `json:"scenarios"` // names of the scenarios that have the fault by default
}

type listedMutant struct {
	Name     string   `json:"name"`
	Scenario string   `json:"scenario"`
	Report   string   `json:"report"`
	Violates []string `json:"violates"`
}

var listed = []string{"scenarios", "faults", "ensembles", "mutants"}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list [scenarios|faults|ensembles|mutants]",
		Short: "List scenarios, faults, kinds of ensembles, and mutants",
		Example: `  zkcoord list
  zkcoord list mutants
  zkcoord list --json`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), oneOf(listed...)),
		ValidArgs: listed,
		RunE: func(_ *cobra.Command, args []string) error {
			all := newListing()
			if a.json {
				return a.printJSON(all.only(args))
			}
			return a.printListing(all.only(args))
		},
	}
}

func newListing() listing {
	l := listing{Ensembles: ensembleKinds()}
	at := make(map[string]int) // fault -> its index in l.Faults
	add := func(f harness.Fault) int {
		i, known := at[f.Name()]
		if !known {
			does, _ := fault.About(f)
			i = len(l.Faults)
			at[f.Name()] = i
			l.Faults = append(l.Faults, listedFault{Name: f.Name(), Does: does, Scenarios: []string{}})
		}
		return i
	}
	for _, f := range fault.Every() {
		add(f)
	}
	for _, s := range scenarios.All() {
		one := listedScenario{Name: s.Name, Claim: s.Claim, Guarantees: s.Guarantees, Properties: properties(s)}
		for _, f := range s.Faults {
			one.Faults = append(one.Faults, f.Name())
			i := add(f)
			l.Faults[i].Scenarios = append(l.Faults[i].Scenarios, s.Name)
		}
		for _, m := range s.Mutants {
			one.Mutants = append(one.Mutants, m.Name)
			l.Mutants = append(l.Mutants, listedMutant{m.Name, s.Name, m.Report, m.Violates})
		}
		l.Scenarios = append(l.Scenarios, one)
	}
	slices.SortFunc(l.Faults, func(x, y listedFault) int { return strings.Compare(x.Name, y.Name) })
	return l
}

func properties(s harness.Scenario) []string {
	var ids []string
	for _, c := range s.Checkers {
		for _, p := range c.Properties() {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// The method `only` returns the part of the listing that `args` select. If `args` is empty, it
// returns everything.
func (l listing) only(args []string) listing {
	if len(args) == 0 {
		return l
	}
	switch args[0] {
	case "scenarios":
		return listing{Scenarios: l.Scenarios}
	case "faults":
		return listing{Faults: l.Faults}
	case "mutants":
		return listing{Mutants: l.Mutants}
	}
	return listing{Ensembles: l.Ensembles}
}

func (a *app) printListing(l listing) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	gap := "" // precedes every table except the first
	head := func(line string) {
		fmt.Fprintln(w, gap+line)
		gap = "\n"
	}
	if len(l.Scenarios) > 0 {
		head("SCENARIO\tCLAIM\tJUDGED BY")
	}
	for _, s := range l.Scenarios {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Claim, grouped(s.Properties))
	}
	if len(l.Faults) > 0 {
		head("FAULT\tIN\tDOES")
	}
	for _, f := range l.Faults {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.in(), f.Does)
	}
	if len(l.Mutants) > 0 {
		head("MUTANT\tOF\tVIOLATES\tSTANDS FOR")
	}
	for _, m := range l.Mutants {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.Scenario, strings.Join(m.Violates, " "), m.Report)
	}
	if len(l.Ensembles) > 0 {
		head("ENSEMBLES\t" + strings.Join(l.Ensembles, ", "))
	}
	return w.Flush()
}

// The method `in` describes which scenarios have the fault by default.
func (f listedFault) in() string {
	switch n := len(f.Scenarios); {
	case n == 0:
		return "none by default"
	case n > 2:
		return fmt.Sprintf("%d scenarios", n)
	}
	return strings.Join(f.Scenarios, ", ")
}

// The function `grouped` shortens names of properties: "lock/a lock/b run/c" becomes "lock: a b;
// run: c".
func grouped(names []string) string {
	var order []string
	of := make(map[string][]string)
	for _, name := range names {
		family, rest, _ := strings.Cut(name, "/")
		if of[family] == nil {
			order = append(order, family)
		}
		of[family] = append(of[family], rest)
	}
	for i, family := range order {
		order[i] = family + ": " + strings.Join(of[family], " ")
	}
	return strings.Join(order, "; ")
}

// scenarioNames completes the names of scenarios.
func scenarioNames(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return append(scenarios.Names(), "all"), cobra.ShellCompDirectiveNoFileComp
}

// oneOf returns a validator that accepts only these words as arguments. Its error lists the words.
func oneOf(words ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		for _, arg := range args {
			if !slices.Contains(words, arg) {
				return fmt.Errorf("unknown word %q: the choices are %s", arg, strings.Join(words, ", "))
			}
		}
		return nil
	}
}

// The function `fixed` returns a completion that offers the words.
func fixed(words ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}
