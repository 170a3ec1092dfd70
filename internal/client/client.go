package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

// Options define how to run a client. Only Dial is required.
type Options struct {
	Dial Dial // connects to the servers for the client
	// Log receives the client's standard error; nil discards it.
	Log io.Writer
	// Session, unless nil, is called when a server answers a connect request of the client.
	Session func(Session)
	// HelloTime limits the wait for the first line; zero means 30 s.
	HelloTime time.Duration
	// AnswerTime limits the wait for a reply; zero means 30 s. Request.WaitMS is added to the
	// limit. A request without WaitMS that waits for other clients has no limit.
	AnswerTime time.Duration
}

// A Client is a program that runs as a client. Only one goroutine at a time may call Do or Grant.
type Client struct {
	options Options
	process process
	in      io.WriteCloser
	ways    []*Way
	reading sync.WaitGroup
	over    context.Context // ends when the client cannot take requests any more
	end     context.CancelCauseFunc
	hello   chan Reply

	mu         sync.Mutex
	last       int64                   // id of the last request
	answers    chan<- Reply            // gets the current request's reply; nil without a request
	operations []string                // that the client supports
	greeted    bool                    // the client has sent its hello
	grant      context.Context         // context of the last request for a grant
	lose       context.CancelCauseFunc // ends grant
}

// ErrEnded means that the client ended before any other error occurred. Client.Err then returns an
// error that wraps ErrEnded and says how the client ended.
var ErrEnded = errors.New("the client ended")

// Start starts the program as a client and waits for its first line, the hello. The hello must list
// the operations of the recipe. The caller must close the client.
func Start(ctx context.Context, p Program, s Setup, o Options) (started *Client, err error) {
	o.HelloTime, o.AnswerTime = cmp.Or(o.HelloTime, 30*time.Second), cmp.Or(o.AnswerTime, 30*time.Second)
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Session == nil {
		o.Session = func(Session) {}
	}
	c := &Client{options: o, hello: make(chan Reply, 1)}
	c.over, c.end = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			c.Kill()
			c.Close()
			started, err = nil, fmt.Errorf("client %s: %w", p.Name, err)
		}
	}()
	dial := seeing(o.Dial, o.Session)
	if s.Dial = dial; p.Inside == nil {
		if s.Servers, err = c.pave(s.Servers, dial); err != nil {
			return nil, err
		}
	}
	process, ends, err := p.start(s, o.Log)
	if err != nil {
		return nil, err
	}
	c.process, c.in = process, ends.in
	c.reading.Go(func() { c.read(ends.out) })
	return c, c.greet(ctx, s.Recipe)
}

// pave opens a local address for each server, and returns these addresses.
func (c *Client) pave(servers []string, dial Dial) (near []string, err error) {
	for _, server := range servers {
		w, err := NewWay(server, dial)
		if err != nil {
			return nil, err
		}
		c.ways = append(c.ways, w)
		near = append(near, w.Address())
	}
	return near, nil
}

// greet waits for the hello and checks that it lists the operations of the recipe.
func (c *Client) greet(ctx context.Context, r Recipe) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.options.HelloTime,
		&ProtocolError{Problem: fmt.Sprintf("no hello within %v: the first line of its standard output must be the hello (is the output flushed?)", c.options.HelloTime)})
	defer cancel()
	select {
	case hello := <-c.hello:
		if missing := Missing(r, hello.Operations); missing != nil {
			return fmt.Errorf("a client for the recipe %q needs the operations %s: its hello does not list %s",
				r, strings.Join(r.Operations(), ", "), strings.Join(missing, ", "))
		}
		return nil
	case <-c.over.Done():
		return context.Cause(c.over)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Missing returns the operations of the recipe that are not among the given operations.
func Missing(r Recipe, operations []string) (missing []string) {
	for _, op := range r.Operations() {
		if !slices.Contains(operations, op) {
			missing = append(missing, op)
		}
	}
	return missing
}

// Operations returns the operations that the client listed in its hello.
func (c *Client) Operations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.operations
}

// The method `read` handles the client's lines until the client's output ends. Then it waits until
// the client has ended.
func (c *Client) read(out io.ReadCloser) {
	defer out.Close()
	err := c.lines(bufio.NewReaderSize(out, MaxLine))
	if err != nil {
		c.fail(err)
		c.process.kill()
	}
	select {
	case <-c.process.ended():
	case <-time.After(Grace):
		c.fail(&ProtocolError{Problem: "the client closed its standard output but did not end"})
		c.process.kill()
		<-c.process.ended()
	}
	how := "returned"
	if err := c.process.failure(); err != nil {
		how = err.Error()
	}
	c.fail(fmt.Errorf("%w: %s", ErrEnded, how))
}

// The method `lines` handles the client's lines until the client's output ends. If the client broke
// the protocol, the error says how.
func (c *Client) lines(from *bufio.Reader) error {
	for {
		line, err := from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return &ProtocolError{Line: shortened(line), Problem: fmt.Sprintf("a line is longer than %d bytes", MaxLine)}
		}
		if err != nil && len(line) == 0 {
			return nil
		}
		reply, err := parse(line)
		if err == nil {
			err = c.handle(reply)
		}
		if err != nil {
			return err
		}
	}
}

// The method `handle` handles one line of the client. A line that reports a loss ends the context
// of the last grant that was requested, even if the reply to that request has not arrived yet.
func (c *Client) handle(r Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	broken := func(format string, args ...any) error {
		line, _ := json.Marshal(r) // cannot fail, because the line was parsed
		return &ProtocolError{Line: shortened(line), Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.Type == Hello && c.greeted:
		return broken("a second hello")
	case r.Type == Hello && r.Protocol != Version:
		return broken("the hello has protocol %d, want %d", r.Protocol, Version)
	case r.Type == Hello:
		c.greeted, c.operations = true, r.Operations
		c.hello <- r
	case !c.greeted:
		return broken("the first line must be the hello")
	case r.Type == Lost:
		if c.lose != nil {
			c.lose(fmt.Errorf("the client said: lost: %s", cmp.Or(r.Error, "no reason given")))
		}
	case c.answers == nil:
		return broken("a reply although no request waits for one: the last request was %d", c.last)
	case r.ID != c.last:
		return broken("a reply to request %d, but request %d waits for one", r.ID, c.last)
	default:
		c.answers <- r
		c.answers = nil
	}
	return nil
}

// The method `fail` makes the client take no more requests, and ends the context of the client's
// grant. Only the first cause counts.
func (c *Client) fail(cause error) {
	c.end(cause)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose != nil {
		c.lose(context.Cause(c.over))
	}
}

// Err returns nil as long as the client takes requests. After that, Err returns the reason why the
// client takes no more requests: a *ProtocolError, an error that wraps ErrEnded, or an error that
// says why a request got no reply.
func (c *Client) Err() error { return context.Cause(c.over) }

// Do sends a request and waits for the reply. If the reply reports an error, the error that Do
// returns has the outcome that the reply reports.
//
// Do stops waiting at the time limit, or when ctx or the client ends. If there is no reply by then,
// the outcome is Indeterminate, and the client takes no more requests.
func (c *Client) Do(ctx context.Context, r Request) (Reply, error) {
	failed := func(o session.Outcome, err error) error {
		return &session.RequestError{Op: r.Op, Path: "by the client", Outcome: o, Err: err}
	}
	if err := c.Err(); err != nil {
		return Reply{}, failed(session.Failed, err)
	}
	answer := make(chan Reply, 1)
	c.mu.Lock()
	c.last++
	r.ID, c.answers = c.last, answer
	c.mu.Unlock()
	line, err := json.Marshal(r)
	if err == nil {
		_, err = c.in.Write(append(line, '\n'))
	}
	if err == nil {
		return c.await(ctx, r, answer, failed)
	}
	select { // find the reason why the request cannot be written
	case <-c.over.Done():
		err = context.Cause(c.over)
	case <-time.After(time.Second):
		c.fail(err)
	}
	return Reply{}, failed(session.Indeterminate, err)
}

func (c *Client) await(ctx context.Context, r Request, answer <-chan Reply, failed func(session.Outcome, error) error) (Reply, error) {
	var late <-chan time.Time
	most, bounded := c.bound(r)
	if bounded {
		timer := time.NewTimer(most)
		defer timer.Stop()
		late = timer.C
	}
	var reply Reply
	select {
	case reply = <-answer:
	case <-c.over.Done():
		select {
		case reply = <-answer: // the client sent this reply before it ended
		default:
		}
	case <-late:
		c.fail(fmt.Errorf("no reply to %s within %v", r.Op, most))
	case <-ctx.Done():
		c.fail(fmt.Errorf("%s: gave up waiting for the reply: %w", r.Op, context.Cause(ctx)))
	}
	why := errors.New(cmp.Or(reply.Error, "no reason given"))
	switch reply.Type {
	case OK:
		return reply, nil
	case Fail:
		return reply, failed(session.Failed, why)
	case Info:
		return reply, failed(session.Indeterminate, why)
	}
	return Reply{}, failed(session.Indeterminate, c.Err())
}

// The method `bound` returns how long to wait for the reply, and false if there is no limit.
func (c *Client) bound(r Request) (most time.Duration, bounded bool) {
	switch {
	case r.WaitMS != nil:
		return time.Duration(*r.WaitMS)*time.Millisecond + c.options.AnswerTime, true
	case r.Waits():
		return 0, false
	}
	return c.options.AnswerTime, true
}

// Grant is like Do, for a request that acquires a grant. The returned context ends when the client
// ends or reports the loss of the grant. The client can report the loss at any time after the
// request, even before the reply.
func (c *Client) Grant(ctx context.Context, r Request) (Reply, context.Context, error) {
	c.mu.Lock()
	c.grant, c.lose = context.WithCancelCause(context.Background())
	grant := c.grant
	c.mu.Unlock()
	reply, err := c.Do(ctx, r)
	return reply, grant, err
}

// Stop stops the client's process and the processes that it has started, like SIGSTOP, and returns
// when all of them have stopped.
func (c *Client) Stop(ctx context.Context) error { return c.process.stop(ctx) }

// Continue continues the stopped processes.
func (c *Client) Continue() error { return c.process.resume() }

// LimitMemory prevents the client's processes from getting further memory, until `lift` is called.
// The result of `lift` says whether one of these processes was waiting for memory.
func (c *Client) LimitMemory() (lift func() (waits bool, err error), err error) {
	return c.process.limitMemory()
}

// Kill kills the client's process and the processes that it has started, like SIGKILL. Kill does
// not wait for their end.
func (c *Client) Kill() {
	if c.process != nil {
		c.process.kill()
	}
}

// Ended returns a channel that is closed when the client's process has ended.
func (c *Client) Ended() <-chan struct{} { return c.process.ended() }

// Grace is how long a client may take to end after its standard input has ended.
const Grace = 3 * time.Second

// Close closes the input of the client, waits until the client has ended, and removes everything
// that belongs to it. A client that does not end within Grace is killed. A client that broke the
// protocol, or whose reply took too long, is killed at once.
func (c *Client) Close() {
	if c.process != nil {
		c.in.Close()
		grace := time.NewTimer(Grace)
		if c.Err() != nil {
			grace.Reset(0)
		}
		select {
		case <-c.process.ended():
		case <-grace.C:
			c.process.kill()
			<-c.process.ended()
		}
		grace.Stop()
		c.reading.Wait()
	}
	c.end(context.Canceled)
	for _, w := range c.ways {
		w.Close()
	}
}
