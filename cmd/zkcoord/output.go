package main

import (
	"context"
	"errors"
	"io"
	"syscall"
)

// output is the standard output. It remembers the first error, so that no command loses its result in silence.
type output struct {
	io.Writer
	err    error
	unread context.CancelCauseFunc // called where nobody reads any more; may be nil
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	if errors.Is(err, syscall.EPIPE) && o.unread != nil {
		o.unread(err)
	}
	return n, err
}

// end tells of err and returns the code to end the program with: a result that could not be printed is no success.
func (a *app) end(err error) int {
	unread := errors.Is(a.out.err, syscall.EPIPE)
	if unread && errors.Is(err, syscall.EPIPE) {
		err = nil // whoever closed the pipe knows
	}
	code := a.exit(err)
	if unread && code != exitInvalid {
		return 128 + int(syscall.SIGPIPE) // as a shell tells of it
	}
	if a.out.err != nil && code != exitInvalid {
		if err == nil || code != exitFailed {
			a.note("print the result: %v", a.out.err)
		}
		return exitFailed
	}
	return code
}
