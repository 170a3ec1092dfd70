package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

// These are the exit codes. The package comment and the help describe them.
const (
	exitValid = iota
	exitInvalid
	exitUnknown
	exitFailed
)

// app is the state that all commands share: input, output, and the common flags.
type app struct {
	in   io.Reader
	out  *output   // results
	errs io.Writer // progress and errors
	json bool

	bubble  func(f func())    // calls f on the virtual clock; nil outside of the method `virtually`
	invalid []*harness.Result // runs to minimize; all of them used the embedded ensemble

	passing atomic.Bool // true while a child command runs and receives the signals itself

	mu   sync.Mutex // protects errs, because several goroutines write progress, notes and errors
	live *live      // the line to clear before other output; nil means none
}

// The type `command` is the root command of zkcoord.
type command struct{ *cobra.Command }

func (a *app) root() command {
	c := &cobra.Command{
		Use:   "zkcoord",
		Short: "Break ZooKeeper ensembles and judge the programs that run on them",
		Long: `Run scenarios (for example a lock, an election or a queue under load) against a ZooKeeper ensemble under faults: lost
sessions, killed and paused nodes, and cut connections. Record a history of each run, judge it, and write a report.

Exit codes: 0 valid or done, 1 a property was violated, 2 no conclusion (unknown, not exercised, interrupted),
3 it could not run, or its result could not be stored or printed.`,
		Example: `  zkcoord list
  zkcoord ensemble
  zkcoord znode ls /
  zkcoord run lock-session-loss --time 20s --seed 7
  zkcoord run lock-session-loss --ensemble container --nodes 5
  zkcoord serve`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          known,
		RunE:          help,
	}
	c.SetIn(a.in)
	c.SetOut(a.out)
	c.SetErr(a.errs)
	c.PersistentFlags().BoolVar(&a.json, "json", false, "print results as JSON, one document per line")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if unknown := known(c, c.Flags().Args()); c.HasSubCommands() && unknown != nil {
			return unknown // the flag belongs to an unknown command
		}
		return fmt.Errorf("%w (see %s --help%s)", err, c.CommandPath(), dashHint(c))
	})
	c.AddCommand(a.runCommand(), a.listCommand(), a.checkCommand(), a.ensembleCommand(), a.serveCommand(), a.pruneCommand(), a.shrinkCommand(),
		a.mutantsCommand(), a.clientCommand(), a.chaosCommand(), a.soakCommand(), a.benchCommand(), a.conformCommand(), a.versionCommand(), a.znodeCommand(), a.auditCommand())
	c.AddCommand(a.shellCommands()...)
	for one := range below(c) {
		one.Args = explained(one)
	}
	return command{c}
}

// help is the action of a command that only has subcommands.
func help(c *cobra.Command, _ []string) error { return c.Help() }

// The function `below` returns an iterator over all descendants of c.
func below(c *cobra.Command) iter.Seq[*cobra.Command] {
	return func(yield func(*cobra.Command) bool) {
		for _, one := range c.Commands() {
			if !yield(one) {
				return
			}
			for deeper := range below(one) {
				if !yield(deeper) {
					return
				}
			}
		}
	}
}

// The function `known` returns nil if args is empty. Otherwise it returns an error, which says that
// args[0] is not a command of c. The error suggests the commands that the user may have meant.
func known(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	var meant []string
	for one := range below(c) {
		if one.Name() == args[0] || slices.Contains(one.SuggestFor, args[0]) {
			meant = append(meant, "`"+one.CommandPath()+"`")
		}
	}
	if len(meant) == 0 {
		c.SuggestionsMinimumDistance = 2
		for _, name := range c.SuggestionsFor(args[0]) {
			meant = append(meant, "`"+c.CommandPath()+" "+name+"`")
		}
	}
	if len(meant) == 0 {
		return fmt.Errorf("%w (see %s --help)", err, c.CommandPath())
	}
	return fmt.Errorf("%w: did you mean %s?", err, strings.Join(meant, " or "))
}

// The function `explained` returns a validator that applies the Args of the command. If Args
// returns an error, the validator adds the command's usage to the error.
func explained(c *cobra.Command) cobra.PositionalArgs {
	check := c.Args
	switch {
	case check == nil:
		check = cobra.ArbitraryArgs
	case c.HasSubCommands():
		return check
	}
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return fmt.Errorf("%w: usage: %s", err, c.UseLine())
		}
		return nil
	}
}

// dashHint explains how to write a value that begins with a dash. It returns "" if the command
// takes no arbitrary value.
func dashHint(c *cobra.Command) string {
	if !strings.Contains(c.Use, "VALUE") {
		return ""
	}
	return "; write a value that begins with - after --: " + c.CommandPath() + " -- PATH VALUE"
}

func (c command) execute(ctx context.Context, args []string) error {
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

// codeError is an exit code for an error that has already been reported.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exit reports err in one paragraph and returns the exit code.
func (a *app) exit(err error) int {
	var code codeError
	switch {
	case err == nil:
		return exitValid
	case errors.As(err, &code):
		return int(code)
	}
	a.note("%s", paragraph(err))
	if end := (*endError)(nil); errors.As(err, &end) {
		return end.code
	}
	return exitFailed
}

// endError is an error together with the exit code with which the program ends.
type endError struct {
	code int
	err  error
}

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// paragraph formats err on one line. Joined errors are separated by semicolons.
func paragraph(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// note writes a line for the user to the standard error.
func (a *app) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live.clear()
	fmt.Fprintf(a.errs, "zkcoord: "+format+"\n", args...)
}

// printJSON writes v as a JSON document on one line.
func (a *app) printJSON(v any) error {
	out := json.NewEncoder(a.out)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// codeOf returns the exit code for a verdict, as an error.
func codeOf(v checker.Verdict) error {
	switch v {
	case checker.Valid:
		return nil
	case checker.Invalid:
		return codeError(exitInvalid)
	}
	return codeError(exitUnknown)
}

// terminal returns the width of the terminal w. ok is false if w is not a terminal.
func terminal(w io.Writer) (width int, ok bool) {
	if o, ours := w.(*output); ours {
		w = o.Writer
	}
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil && width > 0
}

// The function `colored` reports whether to write colors to w. The result is true if w is a
// terminal and the variable NO_COLOR is empty (https://no-color.org).
func colored(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == ""
}

const (
	red    = "\x1b[1;31m"
	green  = "\x1b[1;32m"
	yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

func colorOf(v checker.Verdict) string {
	switch v {
	case checker.Valid:
		return green
	case checker.Invalid:
		return red
	}
	return yellow
}
