// Package guard runs a command while a client holds something, for example a lock. The package
// stops all processes of the command before another client can be granted the same lock.
//
// Two processes of the same program work together. The holder is the process that has the session
// and calls Run. Run starts the other process, the guard, and the guard starts the command.
// Whenever the deadline of the lease changes, the holder sends the new deadline to the guard. If
// the lease is not renewed, the guard sends SIGTERM to the processes of the command, and SIGKILL
// after the grace time. It begins early enough that SIGKILL is sent before the lease ends.
//
// The guard decides by the clock alone. So the processes of the command end in time even if the
// holder is killed, is stopped, or gets no processor time. If the guard is killed or stopped, the
// holder kills the processes of the command.
//
// On Linux the guard and the holder are subreapers: if a process of the command loses its parent,
// it becomes a child of the guard or of the holder. This is true even if the process is in another
// Unix session or process group. When the kernel reports that there are no more children, no
// process of the command is left. Three kinds of processes escape:
//
//   - a process that a service starts for the command, such as a container or a systemd unit
//   - a process with the rights of another user, if the guard may not signal it
//   - all processes except the command's first one, if the holder and the guard are killed at the
//     same time
//
// On other systems with signals, the command has its own process group, and the guard stops the
// processes of that group. A process that has left the group escapes.
package guard

import (
	"context"
	"errors"
	"os"
	"time"
)

// Held is the grant, term or claim under which a command runs.
type Held interface {
	// Context ends when the hold ends.
	Context() context.Context
	// Deadline is the time at which Context ends if no server answers until then.
	Deadline() time.Time
}

// A Command is a program with its arguments, and the way to stop it.
type Command struct {
	Args  []string
	Env   []string // of the form name=value, added to the environment of this process
	Stdin []byte   // nil means the standard input of this process

	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
	// Margin is the time between SIGKILL and the end of the lease.
	Margin time.Duration

	// Passing, unless nil, is called when Run has begun to catch the signals that it passes on to
	// the command. From then on, such a signal should not end this program.
	Passing func()

	// Warn receives messages for the user; nil discards them.
	Warn func(format string, args ...any)
}

// A Result says how a command ended.
type Result struct {
	// Code is the exit code of the command, or 128 plus the number of the signal that ended it.
	Code int
	// Lost means that the command was stopped because the hold was lost, or was about to be lost.
	Lost bool
	// Interrupted means that Run or the kernel passed on a signal that requests the end of the
	// command.
	Interrupted bool
}

// ErrUnsupported is the error of Run on a system without signals.
var ErrUnsupported = errors.New("a command can run under a grant only on a system with signals and process groups")

// ErrLost is the error of Run if the hold was lost before the command was started.
var ErrLost = errors.New("the command was not started")

// A StartError says why the command was not started.
type StartError struct {
	Name    string
	Missing bool // the program does not exist
	Reason  string
}

func (e *StartError) Error() string { return "start " + e.Name + ": " + e.Reason }

// Code returns the exit code that a shell would return.
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

// The method `ready` waits until the end of the lease is far enough away to start a command. The
// lease may be about to end at the time of the grant; soon after, the session renews the lease.
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

// tick returns the interval at which the deadline is read.
func (c Command) tick() time.Duration { return max(c.Margin/4, time.Millisecond) }

// input returns the standard input for the command, or nil if the command uses that of this
// process. The caller closes the returned file.
func (c Command) input() (*os.File, error) {
	if c.Stdin == nil {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The goroutine ends when the command has read everything, or when all its processes are gone.
	go func() {
		defer w.Close()
		_, _ = w.Write(c.Stdin) // the command need not read it
	}()
	return r, nil
}
