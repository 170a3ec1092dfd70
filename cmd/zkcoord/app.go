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

// Exit codes, as the package comment and the help tell.
const (
	exitValid = iota
	exitInvalid
	exitUnknown
	exitFailed
)

// app is what all commands share: where they read and write, and the flags that each of them has.
type app struct {
	in   io.Reader
	out  *output   // results
	errs io.Writer // progress and errors
	json bool

	bubble  func(f func())    // calls f on the virtual clock, within virtually
	invalid []*harness.Result // on the embedded ensemble, to be made small

	passing atomic.Bool // a command runs that gets the signals

	mu   sync.Mutex // of errs: progress, notes and errors come from several goroutines
	live *live      // the line to be cleared before anything else is written; nil for none
}

// command is a root command that maps the errors of cobra itself to ours.
type command struct{ *cobra.Command }

func (a *app) root() command {
	c := &cobra.Command{
		Use:   "zkcoord",
		Short: "Break ZooKeeper ensembles, and judge what runs on them",
		Long: `zkcoord runs scenarios (a lock, an election, a queue under load) against a ZooKeeper ensemble while it is
being broken: sessions lost, nodes killed and paused, links cut. It records what happened, judges it, and writes
a report.

Exit codes: 0 valid or done, 1 a property was violated, 2 nothing can be concluded (unknown, not exercised,
interrupted), 3 it could not run, or its result not be stored or printed.`,
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
	c.PersistentFlags().BoolVar(&a.json, "json", false, "print results as JSON, one document a line")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if unknown := known(c, c.Flags().Args()); c.HasSubCommands() && unknown != nil {
			return unknown // the flag is one of a command that there is not
		}
		return fmt.Errorf("%w (see %s --help%s)", err, c.CommandPath(), dashHint(c))
	})
	c.AddCommand(a.runCommand(), a.listCommand(), a.checkCommand(), a.ensembleCommand(), a.serveCommand(), a.pruneCommand(), a.shrinkCommand(),
		a.mutantsCommand(), a.clientCommand(), a.chaosCommand(), a.benchCommand(), a.conformCommand(), a.versionCommand(), a.znodeCommand())
	c.AddCommand(a.shellCommands()...)
	for one := range below(c) {
		one.Args = explained(one)
	}
	return command{c}
}

// help is the work of a command that only has commands below it.
func help(c *cobra.Command, _ []string) error { return c.Help() }

// below yields the commands below c, and those below each of them.
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

// known refuses a word that is no command of c, and names the commands that it can have meant.
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

// explained checks the arguments of a command as its Args do. The error says how to use the command.
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

// dashHint says, for a command that takes a value of any form, how to write one that begins with a dash.
func dashHint(c *cobra.Command) string {
	if !strings.Contains(c.Use, "VALUE") {
		return ""
	}
	return "; a value that begins with - goes behind --: " + c.CommandPath() + " -- PATH VALUE"
}

func (c command) execute(ctx context.Context, args []string) error {
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

// codeError is an error that has been told already, with the code to end with.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exit tells of err, in one paragraph, and returns the code to end with.
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

// endError is an error with the code to end with.
type endError struct {
	code int
	err  error
}

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// paragraph is the text of err on one line: joined errors have one each.
func paragraph(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// note writes a line for people.
func (a *app) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live.clear()
	fmt.Fprintf(a.errs, "zkcoord: "+format+"\n", args...)
}

// printJSON writes one document on a line of its own.
func (a *app) printJSON(v any) error {
	out := json.NewEncoder(a.out)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// codeOf is the exit code for a verdict.
func codeOf(v checker.Verdict) error {
	switch v {
	case checker.Valid:
		return nil
	case checker.Invalid:
		return codeError(exitInvalid)
	}
	return codeError(exitUnknown)
}

// terminal returns the width of the terminal that w is, or false if it is none.
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

// colored reports whether to write colours to w: to a terminal whose user did not ask for none (https://no-color.org).
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
