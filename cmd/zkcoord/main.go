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
// Commands that run another command (lock, elect, join, queue work) end with its exit code, or with
// one of these:
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
	peers.Work() // does not return if this is a client's own process
	guard.Work() // does not return if this is a guard
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the program with the given arguments and streams, and returns its exit code. Tests call
// it in their own process.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in}
	ctx, stop := a.untilSignal(context.Background())
	defer stop()
	// If a reader closes a pipe, the process must not be killed, because its containers would
	// remain. Instead, the command ends as after an interrupt. The error of the write ends the
	// command. The signal cannot do that: it may also come from a socket, and does not show where
	// it comes from.
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
		case ctx.Err() != nil: // the command noticed the interrupt first
			say()
		}
	}()
	defer peers.CleanUp()
	return a.end(a.root().execute(ctx, args))
}

// untilSignal returns a context that the first interrupt ends. After stop, signals have their
// default effect. While a child command receives the signals itself, none ends the context.
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
