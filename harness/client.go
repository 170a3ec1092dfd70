package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/session"
)

// SessionInfo is what faults need to know of a client's ZooKeeper session.
type SessionInfo struct {
	ID       int64
	Password []byte
	Timeout  time.Duration
}

// Process is a process of its own that a client runs in.
type Process interface {
	// Stop stops it as SIGSTOP does, and returns when it stands still.
	Stop(ctx context.Context) error
	// Continue lets it go on.
	Continue() error
	// Kill ends it as SIGKILL does. It may return before the end.
	Kill()
}

// Client is the harness's side of one client: number, link, random choices and
// recorder. Work uses it from one goroutine; holds that are lost and faults from others.
type Client struct {
	ID   int
	Rand *rand.Rand // choices are a function of the run's seed and the number

	env   *Env
	proxy *netfault.Proxy

	mu      sync.Mutex
	process int32 // a new one after each operation whose outcome nobody knows
	last    int32 // the last process that was handed out
	session SessionInfo
	own     Process // nil if there is none
	log     tail
}

func newClient(env *Env, id int) *Client {
	return &Client{
		ID: id, Rand: rand.New(rand.NewPCG(env.Seed, uint64(id)+1)),
		env: env, proxy: netfault.New(env.Dial), process: int32(id), last: int32(id),
	}
}

// Env is the run that the client belongs to.
func (c *Client) Env() *Env { return c.env }

// Proxy is the client's own proxy, for faults.
func (c *Client) Proxy() *netfault.Proxy { return c.proxy }

// Dial connects through the client's own proxy: session.Options.Dial.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.proxy.DialContext(ctx, network, address)
}

// Next reports whether to begin another round of work. It is false once the run
// quiesces, as many operations have begun as were asked for, or ctx has ended.
func (c *Client) Next(ctx context.Context) bool {
	select {
	case <-c.env.sched.quiesce:
		return false
	default:
		return ctx.Err() == nil && !c.env.spent()
	}
}

// Pause waits for d, or for as long as there is work to be done: it reports what
// Next would.
func (c *Client) Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.env.sched.quiesce:
	case <-ctx.Done():
	}
	return c.Next(ctx)
}

// Record records e as this client's, in its present session.
func (c *Client) Record(e history.Event) history.Event { return c.record(&c.process, e) }

func (c *Client) record(process *int32, e history.Event) history.Event {
	c.mu.Lock()
	e.Client, e.Process = int16(c.ID), *process
	if e.Session == 0 {
		e.Session = c.session.ID
	}
	c.mu.Unlock()
	return c.env.rec.Record(e)
}

// Do is one operation: it records the invocation op (Op, Object, Arg ...), calls
// f, and records the completion, whose Result, Token, Zxid and Node f returns.
// The error decides whether it is OK, Fail or Info, see Scenario.Outcome. If f
// panics the operation stays without completion.
func (c *Client) Do(ctx context.Context, op history.Event, f func(context.Context) (history.Event, error)) (history.Event, error) {
	return c.do(ctx, &c.process, op, f)
}

func (c *Client) do(ctx context.Context, process *int32, op history.Event, f func(context.Context) (history.Event, error)) (history.Event, error) {
	op.Kind = history.Invoke
	c.record(process, op)
	done, err := f(ctx)
	done.Op, done.Object, done.Round = op.Op, op.Object, max(op.Round, done.Round)
	done.Kind = history.KindOf(c.env.outcome(err))
	if err != nil {
		done.Error = err.Error()
	}
	c.env.holds.catchUp()
	done = c.record(process, done)
	if done.Kind == history.Info {
		c.newProcess(process)
	}
	return done, err
}

// newProcess begins a new logical thread: what the old one asked for may yet
// happen, at any time.
func (c *Client) newProcess(process *int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last += int32(len(c.env.clients))
	*process = c.last
}

// A Thread makes operations of its client that may overlap each other: those of one
// Thread come one after the other, and are made from one goroutine.
type Thread struct {
	c       *Client
	process int32
}

// Thread returns a new thread of the client.
func (c *Client) Thread() *Thread {
	t := &Thread{c: c}
	c.newProcess(&t.process)
	return t
}

// Do is Client.Do for an operation of the thread.
func (t *Thread) Do(ctx context.Context, op history.Event, f func(context.Context) (history.Event, error)) (history.Event, error) {
	return t.c.do(ctx, &t.process, op, f)
}

// Opened records a new session and makes it known to faults.
func (c *Client) Opened(s SessionInfo) {
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	c.Record(history.Event{Kind: history.Session, Op: history.SessionNew, Arg: s.Timeout.String()})
}

// SessionState records what the client was told of the session id: one of the
// history's Session constants. After lost and closed faults do not know it.
func (c *Client) SessionState(id int64, state string, cause error) {
	e := history.Event{Kind: history.Session, Op: state, Session: id}
	if cause != nil {
		e.Error = cause.Error()
	}
	c.Record(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.ID == id && (state == history.SessionLost || state == history.SessionClosed) {
		c.session = SessionInfo{}
	}
}

// Open opens a session of package session through the client's own proxy, and
// records what becomes of it. Dial of opts is set, and Servers if there are none;
// the caller closes the session.
func (c *Client) Open(ctx context.Context, opts session.Options) (*session.Session, error) {
	if opts.Dial = c.Dial; len(opts.Servers) == 0 {
		opts.Servers = c.env.Servers()
	}
	s, err := session.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	c.Opened(SessionInfo{ID: s.ID(), Password: s.Password(), Timeout: s.Timeout()})
	go c.follow(s) // It ends with the session. The run waits for it as for all that clients start, see leftovers.
	return s, nil
}

// follow records the states of s after the first, to its end.
func (c *Client) follow(s *session.Session) {
	first := true
	for state := range s.States(context.Background()) {
		if !first || state != session.Connected {
			c.SessionState(s.ID(), state.String(), s.Err())
		}
		first = false
	}
}

// RunsIn says that the client runs in a process of its own from now on; nil that
// it does no more.
func (c *Client) RunsIn(p Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = p
}

// Process is the client's own process, nil if it has none at the moment.
func (c *Client) Process() Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

// Log takes what the client's own process writes to standard error. The end of it is kept with the run.
func (c *Client) Log() io.Writer { return &c.log }

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// mostLog is how many bytes of each log a run keeps.
const mostLog = 1 << 20

// Write keeps the end of b.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*mostLog { // not at each write
		t.kept = bytes.Clone(t.end())
	}
	return len(b), nil
}

func (t *tail) end() []byte { return t.kept[max(0, len(t.kept)-mostLog):] }

// Session is the present session; false if there is none.
func (c *Client) Session() (SessionInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session, c.session.ID != 0
}

// Belief records a lease deadline as the client computed it.
func (c *Client) Belief(deadline time.Time) {
	at := deadline.Sub(c.env.rec.Start())
	c.Record(history.Event{Kind: history.Belief, Arg: strconv.FormatInt(int64(at), 10)})
}

// run calls Work until there is nothing more to do.
func (c *Client) run(ctx context.Context, work func(context.Context, *Client) error) {
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, time.Second) {
		begun := time.Now()
		err := c.live(ctx, work)
		if err == nil {
			return
		}
		c.crash(err)
		if time.Since(begun) > time.Second {
			backoff = 10 * time.Millisecond
		}
		if !c.Pause(ctx, backoff) {
			return
		}
	}
}

// live is one life of the client. A panic ends the run's chance of a verdict: the
// workload is broken, and what it would have seen is lost.
func (c *Client) live(ctx context.Context, work func(context.Context, *Client) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.env.problem(fmt.Errorf("client c%d panicked: %v", c.ID, p))
		}
	}()
	return work(ctx, c)
}

// crash records the end of a life. Holds end with it: nobody is left to believe
// in them.
func (c *Client) crash(err error) {
	c.Record(history.Event{Kind: history.Crash, Error: err.Error()})
	c.env.holds.forget(c)
	c.mu.Lock()
	c.session = SessionInfo{}
	c.mu.Unlock()
	c.newProcess(&c.process)
}
