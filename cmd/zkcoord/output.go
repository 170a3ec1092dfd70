package main

import "io"

// output is the standard output. It remembers the first error, so that no command loses its result in silence.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// end tells of err and returns the code to end the program with: a result that could not be printed is no success.
func (a *app) end(err error) int {
	code := a.exit(err)
	if a.out.err != nil && code != exitInvalid {
		if err == nil || code != exitFailed {
			a.note("print the result: %v", a.out.err)
		}
		return exitFailed
	}
	return code
}
