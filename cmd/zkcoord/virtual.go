package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/harness"
)

// virtually ends the program with what do returns. Meanwhile a.bubble calls functions on a clock of their own, which
// stands while anything happens and leaps when nothing does: in a synctest bubble. Within virtually it is do alone.
//
// Bubbles are given to tests alone, so do runs as one. testing.Main is the way to run a test outside of a test binary; it
// is also the reason that this never returns.
func (a *app) virtually(do func() error) error {
	if a.bubble != nil {
		return do()
	}
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil { // the flags of tests are not the user's
		return err
	}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: "virtual",
		F: func(t *testing.T) {
			a.bubble = func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
			os.Exit(a.end(do()))
		},
	}}, nil, nil)
	return fmt.Errorf("the virtual clock ended before the program did")
}

// runVirtual is harness.Run on the virtual clock. Nothing in a bubble may wait for what is outside of it, so an interrupt
// is looked for once a virtual second instead. For other processes it would wait for ever: what needs them is refused.
func (a *app) runVirtual(ctx context.Context, s harness.Scenario, o harness.Options) (result *harness.Result, err error) {
	if s.Needs != "" || o.ClientProcesses {
		return nil, fmt.Errorf("%s cannot run on the virtual clock, which is this process's alone: it needs %s",
			s.Name, cmp.Or(s.Needs, "clients in processes of their own"))
	}
	progress := o.Progress
	if o.Store != nil {
		o.Store = dated{o.Store, time.Now().UTC()}
	}
	a.bubble(func() {
		inside, cancel := context.WithCancel(context.Background())
		defer cancel()
		o.Progress = func(status harness.Status) {
			if ctx.Err() != nil {
				cancel()
			}
			if progress != nil {
				progress(status)
			}
		}
		result, err = harness.Run(inside, s, o)
	})
	return result, err
}

// dated gives runs the time at which they began outside of their bubble, where it is always the year 2000.
type dated struct {
	harness.Store
	begun time.Time
}

func (d dated) Save(r *harness.Result) error {
	r.Start = d.begun
	return d.Store.Save(r)
}
