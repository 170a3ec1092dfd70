package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/internal/guard"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// shellCommands are the primitives for shells and for languages that have no library.
func (a *app) shellCommands() []*cobra.Command {
	return []*cobra.Command{a.lockCommand(), a.electCommand(), a.joinCommand(), a.barrierCommand(), a.counterCommand(), a.queueCommand(), a.whoCommand()}
}

// Exit codes of the commands that run another one.
const (
	exitNotHad = 75 // EX_TEMPFAIL of sysexits.h
	exitLost   = 76
)

// runnerFlags are those of the commands that run another one.
type runnerFlags struct {
	connect connectFlags
	grace   time.Duration
}

const runnerHelp = `

CMD has in its environment what it runs under: ZKCOORD_PATH is PATH, ZKCOORD_TOKEN the fencing token, a number that grows with each
grant: let the resource that CMD changes refuse any smaller one. ZKCOORD_NODE is the znode that is held.

CMD and all that it has started end before anybody else can hold the same: they get SIGTERM while --grace is still left of the lease,
and SIGKILL before it ends. That holds while the servers cannot be reached, and on Linux also if zkcoord is killed or stopped (Ctrl-Z stops
both: continue them before the lease ends). What CMD has other programs start (a container, a unit of systemd) is not stopped; only
the token keeps that out. What is left of CMD when it exits is stopped before anything is released.

Signals are passed on to CMD. Exit code: that of CMD, 128+n if signal n ended it; 75 if nothing was held and CMD not started; 76 if what was
held was lost and CMD was stopped; 126 or 127 if CMD could not be started.`

func (f *runnerFlags) define(c *cobra.Command) {
	c.Long = c.Short + "." + runnerHelp
	f.connect.define(c)
	flags := c.Flags()
	flags.DurationVar(&f.grace, "grace", time.Second, "time between SIGTERM and SIGKILL; an eighth of the session timeout at most")
	flags.DurationVar(&f.connect.sessionTimeout, "session-timeout", 0, "session timeout to request (default: 10s, or 8 times --grace if that is more)")
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case c.ArgsLenAtDash() < 0 && len(args) > 1:
			return errors.New("the command goes behind --")
		case c.ArgsLenAtDash() != 1 || len(args) < 2:
			return errors.New("it takes a path, and a command behind --")
		}
		return nil
	}
}

// graces is how many times --grace fits into the session timeout at least. A healthy session has a quarter of the timeout left at any
// time, and a twentieth is for the kernel to end the processes.
const graces = 8

// with is connectFlags.with, for a path and a command. What fails before anything is held ends with exitNotHad.
func (f *runnerFlags) with(ctx context.Context, args []string, do func(context.Context, *session.Session, runner) error) error {
	if err := znode.Check(args[0]); err != nil {
		return err
	}
	if f.grace <= 0 {
		return fmt.Errorf("--grace %v: it has to be more than nothing", f.grace)
	}
	if f.connect.sessionTimeout < 0 {
		return fmt.Errorf("--session-timeout %v is negative", f.connect.sessionTimeout)
	}
	if f.connect.sessionTimeout == 0 {
		f.connect.sessionTimeout = max(10*time.Second, graces*f.grace)
	}
	if _, err := f.connect.options(); err != nil {
		return err
	}
	err := f.connect.with(ctx, func(ctx context.Context, s *session.Session) error {
		if t := s.Timeout(); t < graces*f.grace {
			return &endError{exitFailed, fmt.Errorf("--grace %v needs a session timeout of %v, and it is %v", f.grace, graces*f.grace, t)}
		}
		return do(ctx, s, runner{flags: f, path: args[0], command: args[1:], margin: s.Timeout() / 20})
	})
	if code := codeError(0); err == nil || errors.As(err, &code) || errors.As(err, new(*endError)) {
		return err
	}
	return &endError{exitNotHad, err}
}

// A runner runs a command under something that is held.
type runner struct {
	flags   *runnerFlags
	path    string
	command []string
	margin  time.Duration
	stdin   []byte
	env     []string // besides what each command has
}

// under says what a command runs under.
type under struct {
	guard.Held
	what  string // "the lock"
	token int64
	node  string
}

// run runs the command. The error is nil if it was started and what it ran under was not lost.
func (a *app) runUnder(ctx context.Context, r runner, u under) (guard.Result, error) {
	defer a.passing.Store(false)
	result, err := guard.Run(ctx, u.Held, guard.Command{
		Args:  r.command,
		Stdin: r.stdin,
		Env:   append([]string{"ZKCOORD_PATH=" + r.path, "ZKCOORD_NODE=" + u.node, fmt.Sprintf("ZKCOORD_TOKEN=%d", u.token)}, r.env...),
		Grace: r.flags.grace, Margin: r.margin,
		Passing: func() { a.passing.Store(true) },
		Warn:    a.note,
	})
	start := (*guard.StartError)(nil)
	switch {
	case errors.As(err, &start):
		return result, &endError{start.Code(), err}
	case errors.Is(err, guard.ErrLost):
		return result, &endError{exitLost, fmt.Errorf("%s %s was lost: %w", u.what, r.path, err)}
	case err != nil:
		return result, err
	case result.Lost:
		err := errors.New("the lease was not renewed in time")
		if cause := context.Cause(u.Context()); cause != nil {
			err = cause
		}
		return result, &endError{exitLost, fmt.Errorf("%s %s was lost, and %s was stopped: %w", u.what, r.path, r.command[0], err)}
	}
	return result, nil
}

// ended is the error for how a command ended that was not stopped.
func ended(r guard.Result) error {
	if r.Code == 0 {
		return nil
	}
	return codeError(r.Code)
}
