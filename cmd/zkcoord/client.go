package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/scenarios"
)

// clientCommand returns the command that helps to write clients for zkcoord run --client.
func (a *app) clientCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "client",
		Short: "Write a client in any language for zkcoord run --client, and check it",
		Long: `Test a lock, an election, a queue or another recipe in any language. A client is a program that reads
requests and writes replies on its standard input and output, one JSON object on each line. docs/client-protocol.md
describes them. These scenarios support such clients:
` + strings.Join(scenarios.WithProtocol(), ", ") + `.`,
		Example: `  zkcoord client example python > my_lock.py
  zkcoord client check 'python3 my_lock.py'
  zkcoord run lock --client 'python3 my_lock.py' --faults none`,
		Args: known,
		RunE: help,
	}
	c.AddCommand(a.clientCheckCommand(), &cobra.Command{
		Use:       "example LANGUAGE",
		Short:     "Print a small client: a lock in " + strings.Join(client.Languages(), ", "),
		Example:   "  zkcoord client example python > my_lock.py",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), oneOf(client.Languages()...)),
		ValidArgs: client.Languages(),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := client.Example(args[0])
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	})
	return c
}

func (a *app) clientCheckCommand() *cobra.Command {
	recipe := string(client.Lock)
	var recipes []string
	for _, r := range client.Recipes() {
		recipes = append(recipes, string(r))
	}
	c := &cobra.Command{
		Use:   "check COMMAND",
		Short: "Check a client against the protocol",
		Long: `Start the shell command as clients of an embedded ensemble. For each requirement of the protocol, print ok, or what the
client did instead. Also print what clients write to standard error.

Exit codes: 0 all requirements were met, 1 one was not, 2 interrupted, 3 nothing could be checked.`,
		Example: `  zkcoord client check 'python3 my_lock.py'
  zkcoord client check --recipe election ./candidate`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(recipes, recipe) {
				return fmt.Errorf("unknown --recipe %q: the recipes are %s", recipe, strings.Join(recipes, ", "))
			}
			var printed error
			met, err := client.Check(c.Context(), client.Shell(args[0]), client.Recipe(recipe), notes{a}, func(f client.Finding) {
				if err := a.finding(f); err != nil && printed == nil {
					printed = err
				}
			})
			switch {
			case c.Context().Err() != nil:
				return codeError(exitUnknown)
			case err != nil || printed != nil:
				return errors.Join(err, printed)
			case !met:
				return codeError(exitInvalid)
			}
			return nil
		},
	}
	c.Flags().StringVar(&recipe, "recipe", recipe, "recipe of the client: "+strings.Join(recipes, ", "))
	_ = c.RegisterFlagCompletionFunc("recipe", fixed(recipes...)) // fails only for an unknown flag
	return c
}

// The method `finding` prints a requirement. If the client does not meet the requirement, it also
// prints what the client did instead.
func (a *app) finding(f client.Finding) error {
	if a.json {
		return a.printJSON(f)
	}
	word := "ok  "
	switch {
	case f.OK:
	case f.Advice:
		word = "note"
	default:
		word = "FAIL"
	}
	_, err := fmt.Fprintf(a.out, "%s  %s\n", word, f.Requirement)
	if err == nil && f.Got != "" {
		_, err = fmt.Fprintf(a.out, "      got: %s\n", f.Got)
	}
	return err
}
