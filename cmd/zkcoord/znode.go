package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// znodeCommand returns the command whose subcommands handle znodes.
func (a *app) znodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "znode",
		Short:   "Read, change and watch znodes",
		Example: "  zkcoord znode ls / -r\n  zkcoord znode get /config --stat\n  zkcoord znode watch /services",
		Args:    known,
		RunE:    help,
	}
	c.AddCommand(a.getCommand(), a.setCommand(), a.lsCommand(), a.createCommand(), a.deleteCommand(), a.watchCommand())
	return c
}

// inSession returns a command that works in its own session.
func (a *app) inSession(use, short, example string, args cobra.PositionalArgs,
	do func(ctx context.Context, s *session.Session, args []string) error) *cobra.Command {
	var connect connectFlags
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			if err := znode.Check(args[0]); err != nil {
				return err
			}
			return connect.with(c.Context(), func(ctx context.Context, s *session.Session) error { return do(ctx, s, args) })
		},
	}
	connect.define(c)
	return c
}

// The type `shown` is the JSON form of a znode. Data that is not text is in the field Bytes, which
// encoding/json writes in base64.
type shown struct {
	Path  string `json:"path"`
	Data  string `json:"data,omitempty"`
	Bytes []byte `json:"bytes,omitempty"`
	Stat  *stat  `json:"stat,omitempty"`
}

// stat is the JSON form of a session.Stat. Its ids are in hexadecimal, as in other ZooKeeper tools.
type stat struct {
	Czxid    string    `json:"czxid"`
	Mzxid    string    `json:"mzxid"`
	Pzxid    string    `json:"pzxid"`
	Created  time.Time `json:"ctime"`
	Modified time.Time `json:"mtime"`
	Version  int32     `json:"version"`
	Cversion int32     `json:"cversion"`
	Aversion int32     `json:"aversion"`
	Owner    string    `json:"ephemeral_owner,omitempty"`
	Length   int32     `json:"length"`
	Children int32     `json:"children"`
}

func newStat(s *session.Stat) *stat {
	st := &stat{
		Czxid: hex(s.Czxid), Mzxid: hex(s.Mzxid), Pzxid: hex(s.Pzxid),
		Created: time.UnixMilli(s.Ctime).UTC(), Modified: time.UnixMilli(s.Mtime).UTC(),
		Version: s.Version, Cversion: s.Cversion, Aversion: s.Aversion, Length: s.DataLength, Children: s.NumChildren,
	}
	if s.EphemeralOwner != 0 {
		st.Owner = hex(s.EphemeralOwner)
	}
	return st
}

func hex(v int64) string { return fmt.Sprintf("0x%x", uint64(v)) }

func (s *stat) String() string {
	text := fmt.Sprintf("version %d, %d bytes, %d children, czxid %s, mzxid %s, changed %s",
		s.Version, s.Length, s.Children, s.Czxid, s.Mzxid, s.Modified.Format(time.RFC3339))
	if s.Owner != "" {
		text += ", ephemeral of " + s.Owner
	}
	return text
}

func newShown(path string, v session.Value) shown {
	one := shown{Path: path, Stat: newStat(v.Stat)}
	if text, ok := asText(v.Data); ok {
		one.Data = text
	} else {
		one.Bytes = v.Data
	}
	return one
}

func (a *app) getCommand() *cobra.Command {
	var withStat bool
	c := a.inSession("get PATH", "Print the data of a znode", "  zkcoord znode get /config\n  zkcoord znode get /config --stat", cobra.ExactArgs(1),
		func(ctx context.Context, s *session.Session, args []string) error {
			v, err := s.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(newShown(args[0], v))
			}
			if withStat {
				a.note("%s: %v", args[0], newStat(v.Stat))
			}
			return a.printData(v.Data)
		})
	c.Flags().BoolVar(&withStat, "stat", false, "also print version, size and ids")
	return c
}

// printData writes data unchanged. On a terminal it adds a missing newline.
func (a *app) printData(data []byte) error {
	_, err := a.out.Write(data)
	if _, onTerminal := terminal(a.out); onTerminal && len(data) > 0 && data[len(data)-1] != '\n' {
		fmt.Fprintln(a.out)
	}
	return err
}

// data returns the value on the command line, or the standard input if the value is "-".
func (a *app) data(args []string) ([]byte, error) {
	switch {
	case len(args) < 2:
		return nil, nil
	case args[1] == "-":
		return io.ReadAll(a.in)
	}
	return []byte(args[1]), nil
}

func (a *app) setCommand() *cobra.Command {
	var version int32
	c := a.inSession("set PATH VALUE|-", "Change a znode's data", "  zkcoord znode set /config '{\"limit\":10}'\n  zkcoord znode set /config - <config.json\n  zkcoord znode set /config x --version 3",
		cobra.ExactArgs(2), func(ctx context.Context, s *session.Session, args []string) error {
			data, err := a.data(args)
			if err != nil {
				return err
			}
			st, err := s.Set(ctx, args[0], data, version)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(shown{Path: args[0], Stat: newStat(st)})
			}
			fmt.Fprintf(a.out, "%s: version %d\n", args[0], st.Version)
			return nil
		})
	c.Flags().Int32Var(&version, "version", session.AnyVersion, "change the data only if the znode has this version; -1 means any version")
	return c
}

// listFlags are the flags of zkcoord znode ls.
type listFlags struct{ long, recursive, skip bool }

func (a *app) lsCommand() *cobra.Command {
	var f listFlags
	c := a.inSession("ls PATH", "List a znode's children", "  zkcoord znode ls /\n  zkcoord znode ls /locks/invoices -l\n  zkcoord znode ls /services -r", cobra.ExactArgs(1),
		func(ctx context.Context, s *session.Session, args []string) error {
			return a.list(ctx, s, args[0], "", f)
		})
	c.Long = `List the children of a znode, sorted by name. Sequential children follow the others, sorted by number. A lock, an
election or a queue serves them in that order. With -l the list includes their data, for example the label of a contender.` + connectHelp
	c.Flags().BoolVarP(&f.long, "long", "l", false, "also print version, size, ids and the beginning of the data")
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "include all descendants")
	c.Flags().BoolVar(&f.skip, "skip-forbidden", false, "with -r: skip unreadable znodes and print a note, instead of failing")
	return c
}

// The method `list` prints the names of the children of path, or of all descendants if f.recursive
// is set. Each name is relative to the path that the user requested, and begins with the argument
// `below`. If a descendant is deleted during the listing, `list` skips it. If the requested znode
// does not exist, `list` fails.
func (a *app) list(ctx context.Context, s *session.Session, path, below string, f listFlags) error {
	listing, err := s.Children(ctx, path)
	switch {
	case err == nil:
	case below != "" && errors.Is(err, session.ErrNoNode):
		return nil
	case below != "" && f.skip && errors.Is(err, session.ErrNoAuth):
		a.note("skipped: %v", err)
		return nil
	case below != "" && errors.Is(err, session.ErrNoAuth):
		return fmt.Errorf("%w (--skip-forbidden skips it)", err)
	default:
		return err
	}
	slices.SortFunc(listing.Names, inOrder)
	for _, name := range listing.Names {
		child := znode.Join(path, name)
		if err := a.printChild(ctx, s, child, below+name, f.long); err != nil {
			return err
		}
		if f.recursive {
			if err := a.list(ctx, s, child, below+name+"/", f); err != nil {
				return err
			}
		}
	}
	return nil
}

// inOrder compares names of children. Sequential znodes come after all others, in the order of
// their numbers. A comparison of the names alone does not give that order, because the name of a
// sequential znode can begin with a random id.
func inOrder(a, b string) int {
	_, m, seqA := znode.ParseSeq(a)
	_, n, seqB := znode.ParseSeq(b)
	switch {
	case seqA != seqB && seqB:
		return -1
	case seqA != seqB:
		return 1
	case seqA && m != n && m.Before(n):
		return -1
	case seqA && m != n:
		return 1
	}
	return strings.Compare(a, b)
}

func (a *app) printChild(ctx context.Context, s *session.Session, path, name string, long bool) error {
	one, data := shown{Path: path}, ""
	if long {
		v, err := s.Get(ctx, path)
		switch {
		case errors.Is(err, session.ErrNoNode):
			return nil
		case errors.Is(err, session.ErrNoAuth):
			data = "may not be read"
		case err != nil:
			return err
		default:
			one = newShown(path, v)
			data = one.Stat.String()
		}
		if one.Data != "" {
			data += ", " + excerpt(one.Data)
		}
	}
	switch {
	case a.json:
		return a.printJSON(one)
	case long:
		fmt.Fprintf(a.out, "%s\t%s\n", name, data)
	default:
		fmt.Fprintln(a.out, name)
	}
	return nil
}

func (a *app) createCommand() *cobra.Command {
	var parents, sequential, container bool
	var ttl time.Duration
	c := a.inSession("create PATH [VALUE|-]", "Create a znode and print its path", "  zkcoord znode create /config '{}'\n  zkcoord znode create -p /a/b/c\n  zkcoord znode create /queue/item- x --sequential",
		cobra.RangeArgs(1, 2), func(ctx context.Context, s *session.Session, args []string) error {
			data, err := a.data(args)
			if err != nil {
				return err
			}
			if parents {
				if err := recipe.CreateParents(ctx, s, args[0]); err != nil {
					return err
				}
			}
			path, err := create(ctx, s, args[0], data, sequential, container, ttl)
			if errors.Is(err, session.ErrNoNode) {
				return fmt.Errorf("%w: its parent (-p creates it)", err)
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(shown{Path: path})
			}
			fmt.Fprintln(a.out, path)
			return nil
		})
	flags := c.Flags()
	flags.BoolVarP(&parents, "parents", "p", false, "create missing parents as containers")
	flags.BoolVar(&sequential, "sequential", false, "let the server append a sequence number")
	flags.BoolVar(&container, "container", false, "let the servers delete the znode some time after its last child was deleted")
	flags.DurationVar(&ttl, "ttl", 0, "let the servers delete the znode after this time without a child and without a change (needs extendedTypesEnabled)")
	c.MarkFlagsMutuallyExclusive("container", "sequential")
	c.MarkFlagsMutuallyExclusive("container", "ttl")
	c.PreRunE = func(*cobra.Command, []string) error {
		if flags.Changed("ttl") && ttl < time.Millisecond {
			return fmt.Errorf("--ttl %v: it must be at least a millisecond", ttl)
		}
		return nil
	}
	return c
}

func create(ctx context.Context, s *session.Session, path string, data []byte, sequential, container bool, ttl time.Duration) (string, error) {
	switch {
	case ttl > 0:
		return s.CreateTTL(ctx, path, data, ttl, sequential)
	case container:
		return s.Create(ctx, path, data, session.Container)
	case sequential:
		return s.Create(ctx, path, data, session.PersistentSequential)
	}
	return s.Create(ctx, path, data, session.Persistent)
}

func (a *app) deleteCommand() *cobra.Command {
	var recursive bool
	var version int32
	c := a.inSession("delete PATH", "Delete a znode", "  zkcoord znode delete /config\n  zkcoord znode delete -r /locks", cobra.ExactArgs(1),
		func(ctx context.Context, s *session.Session, args []string) error {
			if recursive {
				if args[0] == "/" {
					return errors.New("cannot delete /: it contains ZooKeeper's own nodes")
				}
				return s.DeleteAll(ctx, args[0])
			}
			err := s.Delete(ctx, args[0], version)
			if errors.Is(err, session.ErrNotEmpty) {
				return fmt.Errorf("%w (-r also deletes them)", err)
			}
			return err
		})
	c.SuggestFor = []string{"rm"}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "include all descendants")
	c.Flags().Int32Var(&version, "version", session.AnyVersion, "delete the znode only if it has this version; -1 means any version")
	c.MarkFlagsMutuallyExclusive("recursive", "version")
	return c
}
