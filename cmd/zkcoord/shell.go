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

// shellCommands returns the commands for locks, elections and the other primitives. They are for
// shell scripts, and for programs in languages without a library.
func (a *app) shellCommands() []*cobra.Command {
	return []*cobra.Command{a.lockCommand(), a.electCommand(), a.joinCommand(), a.barrierCommand(), a.counterCommand(), a.queueCommand(), a.whoCommand()}
}

// These are exit codes of the commands that run another command.
const (
	exitNotHad = 75 // nothing was acquired; EX_TEMPFAIL of sysexits.h
	exitLost   = 76 // the grant was lost
)

// runnerFlags are the flags of the commands that run another command.
type runnerFlags struct {
	connect connectFlags
	grace   time.Duration
}

const runnerHelp = `

The environment of CMD describes the grant. ZKCOORD_PATH is PATH, and ZKCOORD_NODE is the held znode. ZKCOORD_TOKEN is the
fencing token, a number that grows with each grant. The resource that CMD changes should refuse smaller tokens.

CMD and all processes that it started end before another process can hold the same grant. They get SIGTERM when --grace
is left of the lease, and SIGKILL before the lease ends. This holds even if the servers are unreachable. On Linux it also
holds if zkcoord is killed or stopped. (Ctrl-Z stops both; continue them before the lease ends.) When CMD exits, its
remaining processes are stopped before the grant is released.

In three cases, CMD can still run when another process gets the grant: another client deletes the held znode, zkcoord
and its guard process are killed at the same time, or the machine is suspended until the lease has ended. Three kinds of
processes are not stopped: those that CMD starts through another program, such as a container or a systemd unit; those
of another user, unless zkcoord runs as root; and those that wait in the kernel for a dead disk. In all these cases,
only the token protects the resource.

Signals are passed on to CMD. The exit code is that of CMD, or 128+n if signal n ended it. It is 75 if nothing was
acquired and CMD was not started, 76 if the grant was lost and CMD was stopped, and 126 or 127 if CMD could not be
started. It is 3 if the command line is wrong, or if the servers grant a session timeout that is too short for --grace.`

func (f *runnerFlags) define(c *cobra.Command) {
	c.Long = c.Short + "." + runnerHelp
	f.connect.define(c)
	flags := c.Flags()
	flags.DurationVar(&f.grace, "grace", time.Second, "time between SIGTERM and SIGKILL, at most an eighth of the session timeout")
	flags.DurationVar(&f.connect.sessionTimeout, "session-timeout", 0, "session timeout to request (default: 10s, or 8 times --grace if that is longer)")
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case c.ArgsLenAtDash() < 0 && len(args) > 1:
			return errors.New("write the command after --")
		case c.ArgsLenAtDash() != 1 || len(args) < 2:
			return errors.New("give a path, and a command after --")
		}
		return nil
	}
}

// The constant `graces` is the minimum ratio of the session timeout T to --grace. So the grace time
// is at most T/8. At any time, the lease of a healthy session lasts for at least another T/4. Of
// this time, T/20 is reserved for the kernel to end the processes. The rest, T/5, is longer than
// the grace time.
const graces = 8

// The method `with` calls connectFlags.with for a path and a command. If the arguments and flags
// are valid, but nothing can be acquired, the method returns an error with the exit code
// exitNotHad.
func (f *runnerFlags) with(ctx context.Context, args []string, do func(context.Context, *session.Session, runner) error) error {
	if err := znode.Check(args[0]); err != nil {
		return err
	}
	if args[0] == "/" {
		return errors.New("invalid path /: it has to be below the root")
	}
	if f.grace <= 0 {
		return fmt.Errorf("--grace %v: it must be positive", f.grace)
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
			return &endError{exitFailed, fmt.Errorf("--grace %v needs a session timeout of %v, but the servers granted %v", f.grace, graces*f.grace, t)}
		}
		return do(ctx, s, runner{flags: f, path: args[0], command: args[1:], margin: s.Timeout() / 20})
	})
	if code := codeError(0); err == nil || errors.As(err, &code) || errors.As(err, new(*endError)) || errors.Is(err, session.ErrInvalid) {
		return err
	}
	return &endError{exitNotHad, err}
}

// A runner runs a command under a grant.
type runner struct {
	flags   *runnerFlags
	path    string
	command []string
	margin  time.Duration
	stdin   []byte
	env     []string // in addition to the variables that every command has
}

// The type `under` describes the grant under which a command runs.
type under struct {
	guard.Held
	what  string // for messages, such as "the lock"
	token int64
	node  string
}

// runUnder runs the command under the grant u. The error is nil if the command was started and the
// grant was not lost, whatever the exit code of the command is.
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
		return result, &endError{exitFailed, err}
	case result.Lost:
		err := errors.New("the lease was not renewed in time")
		if cause := context.Cause(u.Context()); cause != nil {
			err = cause
		}
		return result, &endError{exitLost, fmt.Errorf("%s %s was lost, and %s was stopped: %w", u.what, r.path, r.command[0], err)}
	}
	return result, nil
}

// The function `ended` returns, as an error, the exit code of a command that was not stopped. It
// returns nil for the code 0.
func ended(r guard.Result) error {
	if r.Code == 0 {
		return nil
	}
	return codeError(r.Code)
}
