package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

func (a *app) watchCommand() *cobra.Command {
	var connect connectFlags
	var recursive, skip bool
	c := &cobra.Command{
		Use:   "watch PATH",
		Short: "Print each change of a znode on a line",
		Long: `Print a znode and then each change of it: children that appeared or disappeared, and new data. The znode does not
have to exist. Watch survives lost connections and lost sessions. It ends when it is interrupted.`,
		Example: "  zkcoord znode watch /services\n  zkcoord znode watch /config -r --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := znode.Check(args[0]); err != nil {
				return err
			}
			// A first session reports an unreachable address, a missing chroot or a rejected
			// credential at once. The watch itself would wait until the cause is gone.
			err := connect.with(c.Context(), func(ctx context.Context, s *session.Session) error { return connect.chrootMissing(ctx, s) })
			if err != nil {
				return err
			}
			opts, err := connect.options()
			if err != nil {
				return err
			}
			opts.Logger = a.logger() // logs the reason for waiting during an outage
			if recursive {
				return a.watchTree(c.Context(), opts, args[0], skip)
			}
			return a.watchNode(c.Context(), opts, args[0])
		},
	}
	connect.define(c)
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "include all descendants")
	c.Flags().BoolVar(&skip, "skip-forbidden", false, "with -r: skip unreadable znodes and print a note, instead of failing")
	return c
}

// The type `change` is the JSON form of a change.
type change struct {
	Time    time.Time `json:"time"`
	Path    string    `json:"path"`
	Kind    string    `json:"kind"`
	Event   string    `json:"event,omitempty"`
	Exists  bool      `json:"exists"`
	Data    string    `json:"data,omitempty"`
	Bytes   []byte    `json:"bytes,omitempty"`
	Stat    *stat     `json:"stat,omitempty"`
	Added   []string  `json:"added,omitempty"`
	Removed []string  `json:"removed,omitempty"`
}

func newChange(path string, kind watch.Kind, data []byte, st *session.Stat) change {
	c := change{Time: time.Now().UTC(), Path: path, Kind: kind.String(), Exists: st != nil}
	if st == nil {
		return c
	}
	c.Stat = newStat(st)
	if text, ok := asText(data); ok {
		c.Data = text
	} else {
		c.Bytes = data
	}
	return c
}

func (a *app) watchNode(ctx context.Context, opts session.Options, path string) error {
	for n, err := range watch.NewNode(path).Run(ctx, opts) {
		if err != nil {
			return endOfWatch(ctx, err)
		}
		c := newChange(path, n.Kind, n.Data, n.Stat)
		c.Added, c.Removed = n.Added, n.Removed
		if n.Event != 0 {
			c.Event = n.Event.String()
		}
		if err := a.printChange(c); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) watchTree(ctx context.Context, opts session.Options, path string, skip bool) error {
	var tree watch.TreeOptions
	if skip {
		tree.Forbidden = a.noteOnce("skipped, because it must not be read: ")
	}
	for t, err := range watch.NewTree(path, tree).Run(ctx, opts) {
		if err != nil && errors.Is(err, session.ErrNoAuth) && !skip {
			err = fmt.Errorf("%w (--skip-forbidden skips unreadable znodes below %s)", err, path)
		}
		if err != nil {
			return endOfWatch(ctx, err)
		}
		for _, e := range t.Changes {
			if err := a.printChange(newChange(e.Path, e.Kind, e.Data, e.Stat)); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteOnce returns a function that writes a note with `text` and a path, once for each path.
func (a *app) noteOnce(text string) func(path string) {
	var noted sync.Map
	return func(path string) {
		if _, before := noted.LoadOrStore(path, true); !before {
			a.note("%s%s", text, path)
		}
	}
}

// endOfWatch returns nil if an interrupt ended the watch, because that is the normal end of a
// watch.
func endOfWatch(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *app) printChange(c change) error {
	if a.json {
		return a.printJSON(c)
	}
	_, err := fmt.Fprintln(a.out, c)
	return err
}

// String formats the change on one line.
func (c change) String() string {
	parts := []string{c.Time.Local().Format("15:04:05.000"), c.Path, c.Kind}
	for _, name := range c.Added {
		parts = append(parts, "+"+name)
	}
	for _, name := range c.Removed {
		parts = append(parts, "-"+name)
	}
	switch {
	case !c.Exists:
		parts = append(parts, "(no such znode)")
	default:
		parts = append(parts, fmt.Sprintf("(version %d, %d bytes, %d children)", c.Stat.Version, c.Stat.Length, c.Stat.Children))
	}
	if c.Event != "" {
		parts = append(parts, "by "+c.Event)
	}
	switch {
	case len(c.Bytes) > 0:
		parts = append(parts, fmt.Sprintf("%x", c.Bytes[:min(len(c.Bytes), mostShown/2)]))
	case c.Data != "":
		parts = append(parts, excerpt(c.Data))
	}
	return strings.Join(parts, " ")
}
