// Command zkcoord runs scenarios against ZooKeeper ensembles under faults, judges the histories,
// and shows the results. It also starts ensembles for experiments, and reads, changes and watches
// znodes.
//
//	zkcoord list
//	zkcoord run lock-session-loss --ensemble container --time 20s --seed 7
//	zkcoord serve
//
// # Exit codes
//
//	0  valid, or done
//	1  a property was violated
//	2  no conclusion: unknown, not exercised, or interrupted
//	3  it could not run, or its result could not be stored or printed
//
// Commands that run another command (lock, elect, join, barrier enter, queue work) end with its
// exit code, or with one of these:
//
//	75   the lock, term or other grant was not acquired
//	76   the grant was lost, and the command was stopped
//	126  the command could not be started
//	127  the command does not exist
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
	peers.Work() // does not return if this process was started as a client of a run
	guard.Work() // does not return if this process was started as a guard
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The function `run` runs the program with the given arguments and streams, and returns its exit
// code. Tests call this function in their own process.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in}
	ctx, stop := a.untilSignal(context.Background())
	defer stop()
	// SIGPIPE is caught, because it would kill the process, and the containers of the process would
	// remain. If nobody reads the output any more, a write fails, and the error of the write ends
	// the command like an interrupt. The signal itself must not end the command, because a broken
	// socket can also cause SIGPIPE.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, unread := context.WithCancelCause(ctx)
	defer unread(nil)
	a.out, a.errs = &output{Writer: out, unread: unread}, &output{Writer: errs, unread: unread}
	// The first interrupt ends the command in an orderly way. The second one ends the process
	// immediately, and resources may remain.
	say := func() {
		stop()
		if nobodyReads(context.Cause(ctx)) {
			return
		}
		a.note("interrupted: cleaning up (interrupt again to stop at once)")
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
		case ctx.Err() != nil: // the command ended after the interrupt, before `say` was called
			say()
		}
	}()
	defer peers.CleanUp()
	return a.end(a.root().execute(ctx, args))
}

// untilSignal returns a context that the first interrupt ends. After a call of `stop`, signals have
// their default effect. While zkcoord runs a child command that receives the signals itself, no
// signal ends the context.
func (a *app) untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, interrupt := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // a program under nohup ignores the signal
		signal.Notify(signals, syscall.SIGHUP)
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
