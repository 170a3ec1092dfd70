package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/report"
)

func (a *app) serveCommand() *cobra.Command {
	var address, dir string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve web pages of the runs in the store",
		Long: `Show the runs of a store in the browser. You can filter them, open a report, compare two runs, and download a
history. Serve only reads the store. By default it listens on the loopback interface.`,
		Example: "  zkcoord serve\n  zkcoord serve --address 127.0.0.1:9000 --store /var/zkcoord",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.serve(c.Context(), address, dir) },
	}
	c.Flags().StringVar(&address, "address", "127.0.0.1:8088", "address to listen on (port 0: any free port)")
	c.Flags().StringVar(&dir, "store", "store", "directory of the results")
	return c
}

// The function `exists` returns an error if the store does not exist, because its name is then
// probably wrong.
func exists(dir string) error {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the store does not exist: %w (name another one with --store)", err)
	}
	return err
}

func (a *app) serve(ctx context.Context, address, dir string) error {
	if err := exists(dir); err != nil {
		return err
	}
	runs, err := report.Open(dir).Runs()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w: choose another --address", err)
	}
	ip := l.Addr().(*net.TCPAddr).IP
	s := &http.Server{Handler: report.Open(dir).Handler(ip.IsLoopback()), ReadHeaderTimeout: 10 * time.Second}
	url := "http://" + l.Addr().String() + "/"
	if a.json {
		err = a.printJSON(map[string]string{"url": url, "store": dir})
	} else {
		_, err = fmt.Fprintln(a.out, url)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	a.note("serving %d runs in %s; interrupt to stop", len(runs), dir)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := s.Shutdown(closing); !errors.Is(err, context.DeadlineExceeded) {
			stopped <- err
			return
		}
		stopped <- s.Close() // a download is still active, and the user who interrupts does not want to wait for it
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func (a *app) pruneCommand() *cobra.Command {
	var dir string
	var keep report.Keep
	var megabytes int64
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove old runs from the store",
		Long: `Remove runs that are older than --age, and the oldest runs beyond --size. Prune keeps the newest run of each scenario
and runs that may still be in progress.`,
		Example: "  zkcoord prune --age 720h\n  zkcoord prune --size 500",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case keep.Age < 0 || megabytes < 0 || megabytes > math.MaxInt64>>20:
				return fmt.Errorf("--age %v, --size %d MB: they cannot be negative, and --size cannot be above %d MB", keep.Age, megabytes, int64(math.MaxInt64>>20))
			case keep.Age == 0 && megabytes == 0:
				return errors.New("give --age or --size: without them no run is removed")
			}
			if err := exists(dir); err != nil {
				return err
			}
			keep.Size = megabytes << 20
			removed, err := report.Open(dir).Prune(keep, time.Now())
			freed := int64(0)
			for _, r := range removed {
				freed += r.Size
				if a.json {
					err = errors.Join(err, a.printJSON(map[string]any{"removed": r.ID, "bytes": r.Size}))
				} else {
					fmt.Fprintln(a.out, r.ID)
				}
			}
			a.note("removed %d runs, %d kB", len(removed), freed>>10)
			return err
		},
	}
	c.Flags().StringVar(&dir, "store", "store", "directory of the results")
	c.Flags().DurationVar(&keep.Age, "age", 0, "remove runs that are older than this, for example 720h (0: no limit)")
	c.Flags().Int64Var(&megabytes, "size", 0, "remove the oldest runs until the rest has at most this many megabytes (0: no limit)")
	return c
}
