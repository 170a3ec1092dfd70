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

// The method `virtually` calls `do`, and ends the program with the result of `do`. While `do` runs,
// a.bubble is a function that calls its argument in a synctest bubble. A bubble has its own clock,
// which stops while any goroutine in the bubble runs, and jumps when all of them are blocked. A
// nested call of `virtually` only calls `do`.
//
// Only a test can create a bubble. So `virtually` starts a test in this program, with testing.Main,
// and the test calls `do`. The function testing.Main never returns, so `virtually` does not return
// either.
func (a *app) virtually(do func() error) error {
	if a.bubble != nil {
		return do()
	}
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil { // the user's arguments are not flags of tests
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

// runVirtual is harness.Run on the virtual clock. A goroutine in a bubble cannot wait for events
// outside of the bubble. So the function Progress, which harness.Run calls about once per virtual
// second, cancels the run if ctx has ended. A wait for another process would never end, so
// runVirtual refuses scenarios that need processes.
func (a *app) runVirtual(ctx context.Context, s harness.Scenario, o harness.Options) (result *harness.Result, err error) {
	if s.Needs != "" || o.ClientProcesses {
		return nil, fmt.Errorf("%s cannot run on the virtual clock, which only this process has, because it needs %s",
			s.Name, cmp.Or(s.Needs, "clients in separate processes"))
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

// The type `dated` is a store that sets the start time of each run to the real time. Within a
// bubble, the start time would be in the year 2000.
type dated struct {
	harness.Store
	begun time.Time
}

func (d dated) Save(r *harness.Result) error {
	r.Start = d.begun
	return d.Store.Save(r)
}
