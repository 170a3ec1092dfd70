package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"syscall"
)

// The type `output` is the standard output or the standard error. It keeps the first error of a
// write, so that a command fails if its result could not be printed.
type output struct {
	io.Writer
	err    error
	unread context.CancelCauseFunc // called when the reader has closed the pipe; may be nil
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	if nobodyReads(err) && o.unread != nil {
		o.unread(err)
	}
	return n, err
}

// nobodyReads reports whether err is the error of a write to a closed pipe. The numbers in the code
// are errors of Windows: ERROR_BROKEN_PIPE, ERROR_NO_DATA and ERROR_PIPE_NOT_CONNECTED.
func nobodyReads(err error) bool {
	var number syscall.Errno
	windows := runtime.GOOS == "windows" && errors.As(err, &number) && (number == 109 || number == 232 || number == 233)
	return windows || errors.Is(err, syscall.EPIPE)
}

// The method `end` reports err and returns the program's exit code. A result that could not be
// printed is not a success.
func (a *app) end(err error) int {
	unread := nobodyReads(a.out.err)
	if unread && nobodyReads(err) {
		err = nil // the reader closed the pipe on purpose
	}
	code := a.exit(err)
	if unread && code != exitInvalid {
		return 128 + int(syscall.SIGPIPE) // like a process that the signal ended
	}
	if a.out.err != nil && code != exitInvalid {
		if err == nil || code != exitFailed {
			a.note("print the result: %v", a.out.err)
		}
		return exitFailed
	}
	return code
}
