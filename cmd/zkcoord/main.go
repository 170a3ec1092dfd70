// Command zkcoord runs scenarios against ZooKeeper ensembles while they are being broken, judges what happened, and shows
// it. It also serves ensembles for trying things out, and reads, changes and watches znodes.
//
//	zkcoord list
//	zkcoord run lock-session-loss --ensemble container --time 20s --seed 7
//	zkcoord serve
//
// # Exit codes
//
//	0  valid, or done
//	1  a property was violated
//	2  nothing can be concluded: unknown, not exercised, interrupted
//	3  it could not run at all, or its result could not be stored or printed
//
// The commands that run another one (lock, elect, join, queue work) end with its exit code:
//
//	75   what it was to run under was not had
//	76   it was lost, and the command was stopped
//	126  the command could not be started
//	127  there is no such command
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/zkcoord/zkcoord/internal/guard"
	"github.com/zkcoord/zkcoord/internal/peers"
)

func main() {
	peers.Work() // and no more, if this is a client's own process
	guard.Work() // or a guard
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program without the process around it.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in}
	ctx, stop := a.untilSignal(context.Background())
	defer stop()
	// A pipe that nobody reads any more does not kill the process, which would leave its containers behind, but ends what
	// runs as an interrupt does. The signal itself tells nothing: those of sockets are the same.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, unread := context.WithCancelCause(ctx)
	defer unread(nil)
	a.out, a.errs = &output{Writer: out, unread: unread}, &output{Writer: errs, unread: unread}
	// The first interrupt ends what runs, in order. The second one ends the process, whatever it leaves behind.
	say := func() {
		stop()
		if nobodyReads(context.Cause(ctx)) {
			return
		}
		a.note("interrupted: cleaning up (again to stop at once)")
	}
	said := make(chan struct{})
	unasked := context.AfterFunc(ctx, func() {
		defer close(said)
		say()
	})
	defer func() {
		switch {
		case !unasked():
			<-said
		case ctx.Err() != nil: // what ran was quicker to see it
			say()
		}
	}()
	defer peers.CleanUp()
	return a.end(a.root().execute(ctx, args))
}

// untilSignal returns a context that the first interrupt ends. After stop, signals
// have their default effect. While a command runs that gets the signals itself, none
// ends the context.
func (a *app) untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, interrupt := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) { // it is for a job in the background of a script
			signal.Notify(signals, s)
		}
	}
	stopped, waited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(waited)
		for {
			select {
			case <-signals:
				if !a.passing.Load() {
					interrupt()
				}
			case <-stopped:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(stopped)
		<-waited
		interrupt()
	})
}
