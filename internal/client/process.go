package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/procs"
)

// A process runs a client. It is a child process, or a function in this process.
type process interface {
	stop(ctx context.Context) error
	resume() error
	limitMemory() (lift func() (waits bool, err error), err error)
	// kill kills the process and the processes that it has started. It does not wait for their end.
	kill()
	// ended returns a channel that is closed when the process has ended. After that, the method
	// `failure` returns the error with which the process ended, or nil.
	ended() <-chan struct{}
	failure() error
}

// The type `pipes` has the harness's ends of the pipes that are a client's standard input and
// output.
type pipes struct {
	in  io.WriteCloser
	out io.ReadCloser
}

// The method `start` starts the program. A child process gets the setup in its environment; a
// program in this process gets s. The standard error of a child process is written to log.
func (p Program) start(s Setup, log io.Writer) (process, pipes, error) {
	if p.Inside != nil {
		i, ends := startInside(p.Inside, s)
		return i, ends, nil
	}
	return p.startChild(s, log)
}

// A child is a separate process.
type child struct {
	*procs.Child
	errs  *os.File
	read  sync.WaitGroup // goroutine that reads errs
	text  tail
	whole chan struct{} // closed after the process has ended and its standard error was read
}

func (p Program) startChild(s Setup, log io.Writer) (_ process, _ pipes, err error) {
	var open []io.Closer
	defer func() {
		if err != nil {
			for _, one := range open {
				one.Close()
			}
		}
	}()
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			open = append(open, r, w)
		}
		return r, w
	}
	// The pipes of package exec are not suitable: when the process ends, they lose what has not
	// been read.
	theirIn, in := pipe()
	out, theirOut := pipe()
	errs, theirErrs := pipe()
	if err != nil {
		return nil, pipes{}, err
	}
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Env = append(append(os.Environ(), p.Env...), s.environment()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, theirErrs
	started, err := procs.Start(cmd)
	if err != nil {
		return nil, pipes{}, err
	}
	theirIn.Close()
	theirOut.Close()
	theirErrs.Close()
	c := &child{Child: started, errs: errs, whole: make(chan struct{})}
	c.read.Go(func() { _, _ = io.Copy(io.MultiWriter(&c.text, log), errs) })
	go c.await()
	return c, pipes{in, out}, nil
}

// await waits for the end of the child and of its standard error. Processes that the child has
// started may keep the standard error open. So await kills them, and then waits at most a second
// for the rest of the text.
func (c *child) await() {
	defer close(c.whole)
	<-c.Ended()
	c.KillGroup()
	late := time.AfterFunc(time.Second, func() { c.errs.Close() })
	c.read.Wait()
	late.Stop()
	c.errs.Close()
}

func (c *child) stop(ctx context.Context) error             { return c.StopGroup(ctx) }
func (c *child) resume() error                              { return c.ContinueGroup() }
func (c *child) limitMemory() (func() (bool, error), error) { return c.LimitMemory() }
func (c *child) kill()                                      { c.SignalKill() }
func (c *child) ended() <-chan struct{}                     { return c.whole }

// failure returns the error with which the process ended, or nil. The text of the error includes
// the last part of what the process wrote to its standard error.
func (c *child) failure() error {
	err := c.Err()
	if text := c.text.String(); text != "" && err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// A tail stores the end of the text that is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// tailLength is the maximum number of bytes that a tail stores. If a client ends with an error,
// that error quotes these bytes.
const tailLength = 600

// Write appends b, and drops all but the last tailLength bytes.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = bytes.Clone(t.kept[max(0, len(t.kept)-tailLength):])
	return len(b), nil
}

// String returns the stored text on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.kept)), " ")
}

// An inside is a client in this process.
type inside struct {
	in   *io.PipeReader
	out  *io.PipeWriter
	done chan struct{}
	err  error // set before done is closed
}

func startInside(run func(Setup, io.Reader, io.Writer) error, s Setup) (*inside, pipes) {
	theirIn, in := io.Pipe()
	out, theirOut := io.Pipe()
	i := &inside{in: theirIn, out: theirOut, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		i.err = run(s, theirIn, theirOut)
		theirIn.Close()
		theirOut.Close()
	}()
	return i, pipes{in, out}
}

var errInside = errors.New("this client has no process of its own")

func (i *inside) stop(context.Context) error                 { return errInside }
func (i *inside) resume() error                              { return errInside }
func (i *inside) limitMemory() (func() (bool, error), error) { return nil, errInside }
func (i *inside) ended() <-chan struct{}                     { return i.done }
func (i *inside) failure() error                             { return i.err }

// kill closes the input and the output of the program. The program returns when it next uses them.
func (i *inside) kill() {
	i.in.CloseWithError(io.ErrUnexpectedEOF)
	i.out.CloseWithError(io.ErrClosedPipe)
}
