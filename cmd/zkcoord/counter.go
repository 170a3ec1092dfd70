package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/session"
)

// counterFormats maps the values of the flag --format to the formats of a counter.
var counterFormats = map[string]counter.Format{"decimal": counter.Decimal, "big-endian": counter.BigEndian}

const counterHelp = `

Exit codes: 0 the change was applied, 3 it was not applied and never will be, 2 the outcome is unknown, because the
command was interrupted or its session ended while the write was in progress. After code 3 the command can be repeated.
After code 2, repeating it can count twice.`

func (a *app) counterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "counter",
		Short:   "Count together with other processes",
		Example: "  zkcoord counter add /orders\n  zkcoord counter get /orders",
		Args:    known,
		RunE:    help,
	}
	one := func(use, short, example string, args cobra.PositionalArgs, do func(ctx context.Context, n *counter.Counter, args []string) (int64, error)) *cobra.Command {
		var format string
		c := a.inSession(use, short, example, args, func(ctx context.Context, s *session.Session, args []string) error {
			f, known := counterFormats[format]
			if !known {
				return fmt.Errorf("--format %q must be decimal or big-endian", format)
			}
			value, err := do(ctx, counter.New(s, args[0], counter.Options{Format: f}), args[1:])
			switch {
			case err != nil:
				return err
			case a.json:
				return a.printJSON(map[string]int64{"value": value})
			}
			_, err = fmt.Fprintln(a.out, value)
			return err
		})
		c.Flags().StringVar(&format, "format", "decimal", "format of the data: decimal (text, like kazoo) or big-endian (8 bytes, like Curator)")
		return c
	}
	get := one("get PATH", "Print the value of a counter", "  zkcoord counter get /orders", cobra.ExactArgs(1),
		func(ctx context.Context, n *counter.Counter, _ []string) (int64, error) { return n.Get(ctx) })
	get.Long = get.Short + ". A counter that does not exist has the value 0.\n\nExit codes: 0 the value was printed, 3 it could not be read." + connectHelp
	add := one("add PATH [VALUE]", "Add to a counter, and print its value", "  zkcoord counter add /orders\n  zkcoord counter add -- /orders -3",
		cobra.RangeArgs(1, 2), func(ctx context.Context, n *counter.Counter, args []string) (int64, error) {
			delta := int64(1)
			if len(args) > 0 {
				var err error
				if delta, err = integer(args[0]); err != nil {
					return 0, err
				}
			}
			value, err := n.Add(ctx, delta)
			return value, countedOrNot(err)
		})
	add.Long = "Add VALUE, or 1, to the counter, and print the value after the addition. If nobody lowers the value, no two adds of a positive number print the same value." + counterHelp + connectHelp
	set := one("set PATH VALUE", "Set a counter, and print its value", "  zkcoord counter set /orders 1000", cobra.ExactArgs(2),
		func(ctx context.Context, n *counter.Counter, args []string) (int64, error) {
			value, err := integer(args[0])
			if err != nil {
				return 0, err
			}
			return value, countedOrNot(n.Set(ctx, value))
		})
	set.Long = "Replace the value of the counter. Numbers that other processes add at the same time can be lost." + counterHelp + connectHelp
	c.AddCommand(get, add, set)
	return c
}

// countedOrNot adds an exit code to the error of a write. The code says whether the write may have
// been applied.
func countedOrNot(err error) error {
	if session.OutcomeOf(err) == session.Indeterminate {
		return &endError{exitUnknown, err}
	}
	return err
}

func integer(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an integer of 64 bits", text)
	}
	return n, nil
}
