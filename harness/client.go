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
	"github.com/zkcoord/zkcoord/internal/leasetrace"
	"github.com/zkcoord/zkcoord/session"
)

// SessionInfo is the part of a client's ZooKeeper session that faults need.
type SessionInfo struct {
	ID       int64
	Password []byte
	Timeout  time.Duration
}

// Process is a separate process in which a client runs.
type Process interface {
	// Stop suspends the process like SIGSTOP. It returns when the process is suspended.
	Stop(ctx context.Context) error
	// Continue resumes the process.
	Continue() error
	// Kill ends the process like SIGKILL. It may return before the process has ended.
	Kill()
}

// MemoryLimiter is a Process whose memory can be limited.
type MemoryLimiter interface {
	Process
	// LimitMemory stops the process from getting more memory. A thread that needs more memory waits
	// until the function `lift` is called. The result `waits` of `lift` reports whether a thread
	// was waiting.
	LimitMemory() (lift func() (waits bool, err error), err error)
}

// Client is the harness's side of one client: its number, proxy, random source and recorder.
// Workload.Work uses a Client from one goroutine. Faults use it from other goroutines, and so does
// the code that records lost holds.
type Client struct {
	ID   int
	Rand *rand.Rand // choices are a function of the run's seed and of ID

	env   *Env
	proxy *netfault.Proxy

	mu      sync.Mutex
	process int32 // the number for events; changes after a crash or an Indeterminate outcome
	last    int32 // the last process number that was assigned
	session SessionInfo
	own     Process // the separate process that the client runs in; nil if there is none
	log     tail
}

func newClient(env *Env, id int) *Client {
	return &Client{
		ID: id, Rand: rand.New(rand.NewPCG(env.Seed, uint64(id)+1)),
		env: env, proxy: netfault.New(env.Dial), process: int32(id), last: int32(id),
	}
}

// Env returns the run that the client belongs to.
func (c *Client) Env() *Env { return c.env }

// Proxy returns the client's own proxy, for faults.
func (c *Client) Proxy() *netfault.Proxy { return c.proxy }

// Dial connects through the client's own proxy. Use it as session.Options.Dial.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.proxy.DialContext(ctx, network, address)
}

// Next reports whether the client should begin another round of work. It returns false if the calm
// phase of the run is over, if Env.GiveUp was called, if Options.Operations operations have begun,
// or if ctx has ended.
func (c *Client) Next(ctx context.Context) bool {
	select {
	case <-c.env.sched.quiesce:
		return false
	default:
		return ctx.Err() == nil && !c.env.spent()
	}
}

// Pause waits for d. It returns earlier if the calm phase ends, if Env.GiveUp is called or if ctx
// ends. It returns the result of Next.
func (c *Client) Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return c.Next(ctx) // no timer, because of a bug in Go's race detector: see times.Sleep
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.env.sched.quiesce:
	case <-ctx.Done():
	}
	return c.Next(ctx)
}

// Record records e as an event of this client, in its current session.
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

// Do performs one operation. It records the event `op` (with Op, Object, Arg and so on) as the
// invocation, calls f, and records the completion. The event that f returns has the Result, Token,
// Zxid and Node of the completion. The error that f returns decides whether the completion is OK,
// Fail or Info: see Scenario.Outcome. If f panics, the operation has no completion.
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

// newProcess sets *process to a number that the run has not used before. An operation with the old
// number may still take effect at any time, so later operations need another number.
func (c *Client) newProcess(process *int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last += int32(len(c.env.clients))
	*process = c.last
}

// A Thread performs operations of its client, one after another, from one goroutine. These
// operations may overlap with operations of other threads.
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

// Do is like Client.Do, but the operation belongs to the thread.
func (t *Thread) Do(ctx context.Context, op history.Event, f func(context.Context) (history.Event, error)) (history.Event, error) {
	return t.c.do(ctx, &t.process, op, f)
}

// Opened records a new session and makes it available to faults.
func (c *Client) Opened(s SessionInfo) {
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	c.Record(history.Event{Kind: history.Session, Op: history.SessionNew, Arg: s.Timeout.String()})
}

// SessionState records the new state of a session, as the client observed it. The state is one of
// the history's Session constants. Once the session is lost or closed, faults no longer use it.
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

// Open opens a session of package session through the client's own proxy, and records the states of
// the session. Open sets opts.Dial, and opts.Servers if it is empty. The caller closes the session.
func (c *Client) Open(ctx context.Context, opts session.Options) (*session.Session, error) {
	if opts.Dial = c.Dial; len(opts.Servers) == 0 {
		opts.Servers = c.env.Servers()
	}
	s, err := session.Open(leasetrace.With(ctx, c.env.leases.Session(c.ID)), opts)
	if err != nil {
		return nil, err
	}
	c.Opened(SessionInfo{ID: s.ID(), Password: s.Password(), Timeout: s.Timeout()})
	// This goroutine ends when the session ends. The method `leftovers` waits for all goroutines of
	// clients, so it also waits for this one.
	go c.follow(s)
	return s, nil
}

// The method `follow` records the states of s until s ends. If the first state is Connected, it is
// not recorded, because Opened has already recorded the new session.
func (c *Client) follow(s *session.Session) {
	first := true
	for state := range s.States(context.Background()) {
		if !first || state != session.Connected {
			c.SessionState(s.ID(), state.String(), s.Err())
		}
		first = false
	}
}

// RunsIn declares that the client runs in the separate process p from now on. If p is nil, the
// client no longer runs in a separate process.
func (c *Client) RunsIn(p Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = p
}

// Process returns the process that the client runs in, or nil if it runs in the harness's process.
func (c *Client) Process() Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

// Log returns a writer for the output that the client's own process writes to its standard error.
// The run keeps the last part of this output.
func (c *Client) Log() io.Writer { return &c.log }

// A tail keeps the last part of the data that is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// mostLog is the number of bytes that a tail keeps.
const mostLog = 1 << 20

// Write appends b and drops old bytes.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*mostLog { // not at each write, because Clone copies a MiB
		t.kept = bytes.Clone(t.end())
	}
	return len(b), nil
}

func (t *tail) end() []byte { return t.kept[max(0, len(t.kept)-mostLog):] }

// Session returns the current session, or false if there is none.
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

// The method `run` calls Work until it returns without an error, or until the client must finish.
// After each error it records a crash and waits before the next call.
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

// The method `live` calls Work once. A panic makes the run Unknown, because the workload is broken
// and its further observations are lost.
func (c *Client) live(ctx context.Context, work func(context.Context, *Client) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.env.problem(fmt.Errorf("client c%d panicked: %v", c.ID, p))
		}
	}()
	return work(ctx, c)
}

// The method `crash` records that a call of Work ended with err. It drops the client's holds,
// because no program relies on them any more.
func (c *Client) crash(err error) {
	c.Record(history.Event{Kind: history.Crash, Error: err.Error()})
	c.env.holds.forget(c)
	c.mu.Lock()
	c.session = SessionInfo{}
	c.mu.Unlock()
	c.newProcess(&c.process)
}
