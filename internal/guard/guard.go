// Package guard runs a command for as long as something is held, and stops all
// of its processes before anybody else can hold the same.
//
// Two processes do that. The first one, the holder, has the session and calls
// Run. The second one, the guard, is started by Run from the same program: it
// starts the command, and the holder sends it each new deadline of the lease.
// The guard decides by the clock alone. It sends SIGTERM while the grace time
// is still left, and SIGKILL before the lease ends. So the processes end in time
// also if the holder is killed, is stopped, or has no processor. If it is
// the guard that is killed or stopped, the holder does its work.
//
// On Linux both are subreapers: a process that was started by the command and
// lost its parent becomes their child, whatever session or process group it
// made. None is left when the kernel says that there are no more children. Three
// kinds of processes escape: what the command had somebody else start, such as a
// container or a unit of systemd; a process with the rights of another user, if
// the guard may not signal it; and, where both the holder and the guard are killed
// at once, all but the command's first process, which the kernel kills.
//
// On other systems with signals the command has a process group of its own, and
// that group is stopped. A process that left the group escapes.
package guard

import (
	"context"
	"errors"
	"os"
	"time"
)

// Held is what a command runs under: a grant, a term, a claim.
type Held interface {
	// Context ends when it is no longer held.
	Context() context.Context
	// Deadline is when Context ends if no server is heard from.
	Deadline() time.Time
}

// A Command is a program with its arguments, and how it is stopped.
type Command struct {
	Args  []string
	Env   []string // of the form name=value, added to that of this process
	Stdin []byte   // nil for the standard input of this process

	// Grace is how long before SIGKILL the processes get SIGTERM.
	Grace time.Duration
	// Margin is how long before the end of the lease the processes get SIGKILL.
	Margin time.Duration

	// Passing is called once signals are passed on; it may be nil. From then on the
	// program should not end at one.
	Passing func()

	// Warn reports what the user should know; nil discards it.
	Warn func(format string, args ...any)
}

// A Result is how a command ended.
type Result struct {
	// Code is the exit code of the command, or 128 and the number of the signal
	// that ended it.
	Code int
	// Lost means that the command was stopped because what it ran under was
	// lost, or was about to be.
	Lost bool
	// Interrupted means that a signal which asks to end was passed on.
	Interrupted bool
}

// ErrUnsupported is the error of Run on a system without signals.
var ErrUnsupported = errors.New("running a command under something held needs a system with signals and process groups")

// ErrLost is the error of Run if what was held was lost before the command was started.
var ErrLost = errors.New("lost before the command was started")

// A StartError says why the command was not started.
type StartError struct {
	Name    string
	Missing bool // there is no such program
	Reason  string
}

func (e *StartError) Error() string { return "start " + e.Name + ": " + e.Reason }

// Code is the exit code that shells have for it.
func (e *StartError) Code() int {
	if e.Missing {
		return 127
	}
	return 126
}

func (c Command) warn(format string, args ...any) {
	if c.Warn != nil {
		c.Warn(format, args...)
	}
}

// ready waits until enough of the lease is left to start a command: a lease
// that was just granted may be about to be renewed.
func (c Command) ready(ctx context.Context, held Held) error {
	for {
		select {
		case <-held.Context().Done():
			return errors.Join(ErrLost, context.Cause(held.Context()))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.tick()):
		}
		if time.Until(held.Deadline()) > c.Grace+2*c.Margin {
			return nil
		}
	}
}

// tick is how often the deadline is read.
func (c Command) tick() time.Duration { return max(c.Margin/4, time.Millisecond) }

// input is the standard input for the command. The caller closes it.
func (c Command) input() (*os.File, error) {
	if c.Stdin == nil {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() { // It ends when the command has read all, or when all its processes are gone.
		defer w.Close()
		_, _ = w.Write(c.Stdin) // the command need not read it
	}()
	return r, nil
}
