package zktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/zktest/internal/quorum"
)

// ErrClosed means that the ensemble was closed.
var ErrClosed = errors.New("zktest: ensemble is closed")

// An Ensemble is a running ensemble. Its methods may be called from any
// goroutine. A method that takes the index of a server panics if there is no
// such server.
type Ensemble struct {
	opts  Options
	start time.Time
	addrs []string

	wake chan struct{} // wakes keepTime, because a timer may now be due earlier
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	ports   []*port // of the servers, over TCP
	cluster *quorum.Cluster
	armed   time.Duration // the time at which keepTime wakes if nothing wakes it earlier
	conns   map[*conn]struct{}
	closed  bool
	stepper *stepper // nil unless Options.Step
}

// TB has the methods of testing.TB that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start starts an ensemble and closes it at the end of the test. Without
// options it uses the zero Options.
func Start(t TB, opts ...Options) *Ensemble {
	t.Helper()
	var o Options
	if len(opts) > 0 {
		o = opts[0]
	}
	e, err := New(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// New starts an ensemble. When New returns, the ensemble has a leader and
// serves. The caller must close it. New fails if an option is not valid, or if
// it cannot listen on an address.
//
// If New is called in a synctest bubble, the ensemble runs on the bubble's
// clock and must be closed in the bubble.
func New(opts Options) (*Ensemble, error) {
	cfg, err := opts.config()
	if err != nil {
		return nil, err
	}
	e := &Ensemble{
		opts: opts, start: time.Now(), conns: make(map[*conn]struct{}),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if err := e.assign(); err != nil {
		return nil, err
	}
	cfg.Start, cfg.Addrs = e.start, e.addrs
	if opts.Trace != nil {
		cfg.Trace = e.trace
	}
	if opts.Step {
		e.stepper = newStepper(e, cfg.Rand)
	}
	e.cluster = quorum.New(cfg)
	for i, p := range e.ports {
		l := p.listener // kept for the goroutine, because Kill may set p.listener to nil
		e.wg.Go(func() { e.accept(i, l) })
	}
	e.wg.Go(e.keepTime)
	return e, nil
}

// The method `assign` gives each server an address. Over TCP it also opens the ports. In memory
// nothing listens on the addresses, so a client that dials one of them over the network is refused.
func (e *Ensemble) assign() error {
	for i := range e.opts.Servers {
		if !e.opts.TCP {
			e.addrs = append(e.addrs, fmt.Sprintf("127.0.0.1:%d", i+1))
			continue
		}
		addr := "127.0.0.1:0"
		if len(e.opts.Listen) > 0 {
			addr = e.opts.Listen[i]
		}
		p, err := newPort(addr)
		if err != nil {
			for _, p := range e.ports {
				p.close()
			}
			return fmt.Errorf("zktest: server %d: %w", i, err)
		}
		e.ports = append(e.ports, p)
		e.addrs = append(e.addrs, p.addr)
	}
	return nil
}

// Servers returns the client address of each server, by index. The addresses
// stay the same when a server restarts. Servers in memory can be reached only
// with DialContext.
func (e *Ensemble) Servers() []string { return slices.Clone(e.addrs) }

// An Expiry is a session that a leader closed because the session's timeout had passed.
type Expiry struct {
	Session int64
	Zxid    int64     // of the closing transaction; without a majority, it may never be committed
	Touched time.Time // when the leader last learned that the session was active
	Taken   time.Time // when the leader found that the timeout had passed; later activity cannot prevent the session's end
}

// Expiries returns the sessions that leaders have closed so far because their timeouts had passed.
// Sessions that a client or Expire has closed are not among them.
func (e *Ensemble) Expiries() []Expiry {
	var all []Expiry
	e.do(func() {
		for _, x := range e.cluster.Expiries() {
			all = append(all, Expiry{x.Session, x.Zxid, e.start.Add(x.Touched), e.start.Add(x.Taken)})
		}
	})
	return all
}

// DialContext connects to a server by its address, like net.Dialer. While the
// server is down, the connection is refused. The argument `network` is ignored.
func (e *Ensemble) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i := slices.Index(e.addrs, address)
	if i < 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("zktest: no server has address %q: the addresses are %q", address, e.addrs)}
	}
	if e.opts.TCP {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	c := newMemory(e, i)
	if !e.open(c.conn, "127.0.0.1:1") {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.RemoteAddr(), Err: syscall.ECONNREFUSED}
	}
	return c, nil
}

// Dialer does the same as DialContext, with a timeout instead of a context. 0 means no timeout, as
// for net.DialTimeout. Pass Dialer to go-zookeeper's WithDialer.
func (e *Ensemble) Dialer(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx := context.Background()
	if timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return e.DialContext(ctx, network, address)
}

// Close stops the servers and closes all connections. It returns when no
// goroutine of the ensemble runs any more. Further calls do nothing.
func (e *Ensemble) Close() error {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		for i := range e.opts.Servers {
			e.cluster.Kill(i)
		}
		e.closed = true
		if e.stepper != nil {
			e.stepper.releaseAll()
		}
		for _, p := range e.ports {
			p.close()
		}
		for c := range e.conns {
			c.end()
		}
		close(e.done)
	}
	e.mu.Unlock()
	e.wg.Wait()
	return nil
}

// The method `now` returns the ensemble's time, which starts at 0.
func (e *Ensemble) now() time.Duration { return time.Since(e.start) }

// The method `do` locks e.mu, fires the timers that are due, and calls f. Then it lets the cluster
// do all that is possible at this time, and wakes Drive. After Close, it does not call f.
func (e *Ensemble) do(f func()) {
	e.act(f)
	if e.stepper != nil {
		signal(e.stepper.activity)
	}
}

// The method `act` does the same as `do`, but does not wake Drive.
func (e *Ensemble) act(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.cluster.Advance(e.now())
	f()
	e.cluster.Run()
	if at, ok := e.cluster.Next(); ok && at < e.armed {
		signal(e.wake)
	}
}

// keepTime advances the cluster's time whenever a timer is due.
func (e *Ensemble) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		e.do(func() {})
		e.mu.Lock()
		e.armed = 1<<63 - 1
		if at, ok := e.cluster.Next(); ok {
			e.armed = at
			timer.Reset(at - e.now())
		}
		e.mu.Unlock()
		select {
		case <-timer.C:
		case <-e.wake:
		case <-e.done:
			return
		}
	}
}

// signal wakes the receiver of a channel with a buffer of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (e *Ensemble) trace(format string, args ...any) {
	if e.opts.Trace == nil {
		return
	}
	fmt.Fprintf(e.opts.Trace, "%v %s\n", e.now(), fmt.Sprintf(format, args...))
}

// A HostProvider returns the addresses of an ensemble to go-zookeeper in their original order,
// without resolving names. Each client needs its own HostProvider.
type HostProvider struct {
	addrs       []string
	first, next int
	// Index of the server that the client connected to last. Before the first connection, it is the
	// index of the server that Next returned first. Before the first call of Next, it is -1.
	connected int
}

// HostProvider returns a provider that starts with the server of the given
// index. Pass it to go-zookeeper's WithHostProvider.
func (e *Ensemble) HostProvider(first int) *HostProvider {
	return &HostProvider{addrs: e.addrs, first: first}
}

// Init is called by the client. It ignores the given addresses.
func (p *HostProvider) Init([]string) error {
	p.next, p.connected = p.first%len(p.addrs), -1
	return nil
}

// Len returns the number of servers.
func (p *HostProvider) Len() int { return len(p.addrs) }

// Next returns the server to try next, and whether all servers were tried since the last
// connection.
func (p *HostProvider) Next() (server string, retryStart bool) {
	i := p.next
	p.next = (i + 1) % len(p.addrs)
	if p.connected < 0 {
		p.connected = i
		return p.addrs[i], false
	}
	return p.addrs[i], i == p.connected
}

// Connected records that the client has connected to the server that Next returned last.
func (p *HostProvider) Connected() {
	p.connected = (p.next + len(p.addrs) - 1) % len(p.addrs)
}

var _ io.Closer = (*Ensemble)(nil)
