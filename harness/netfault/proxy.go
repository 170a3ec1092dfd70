package netfault

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// Direction is one of the two ways of a proxy.
type Direction int

// The directions.
const (
	Up   Direction = iota // from the client to the server
	Down                  // from the server to the client
	directions
)

// Proxy is one client's proxy to an ensemble. Its zero value cannot be used: see New. Its methods may be called from several
// goroutines, and take effect on all connections, those to come too.
type Proxy struct {
	dial ensemble.DialFunc

	mu      sync.Mutex
	stalled [directions]chan struct{} // not nil while stalled; closed on resume
	delay   [directions]time.Duration
	refuse  bool
	pin     string // empty if not pinned
	conns   map[*conn]struct{}
	traps   []*Trap
	stats   Stats
}

// Stats count what a proxy has done to its client: the proof that a fault had an effect.
type Stats struct {
	Dials   int64 // connections made
	Stalled int64 // chunks of bytes, ends of connections and dials that had to wait for a resume
	Delayed int64 // chunks of bytes that were delayed
	Reset   int64 // connections reset
	Refused int64 // dials refused
	Sprung  int64 // traps that have sprung
}

// New returns a proxy over dial, with nothing broken.
func New(dial ensemble.DialFunc) *Proxy {
	return &Proxy{dial: dial, conns: map[*conn]struct{}{}}
}

// Stats returns the counts so far.
func (l *Proxy) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// DialContext connects to address over the proxy. A dial over a stalled proxy waits for the resume, and ends with ctx before that.
// One that is refused is an error that matches syscall.ECONNREFUSED.
func (l *Proxy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := l.admit(ctx, address); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	inner, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.adopt(inner, address)
}

// admit waits until nothing keeps a dial from being made.
func (l *Proxy) admit(ctx context.Context, address string) error {
	for waited := false; ; waited = true {
		l.mu.Lock()
		if l.refuse || l.pin != "" && l.pin != address {
			l.stats.Refused++
			l.mu.Unlock()
			return syscall.ECONNREFUSED
		}
		stalled := l.stalled[Up]
		if stalled == nil {
			stalled = l.stalled[Down] // The answer to a dial gets lost as well as the dial.
		}
		if stalled != nil && !waited {
			l.stats.Stalled++
		}
		l.mu.Unlock()
		if stalled == nil {
			return nil
		}
		select {
		case <-stalled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adopt makes a connection one of the proxy's, unless it was refused or pinned elsewhere meanwhile.
func (l *Proxy) adopt(inner net.Conn, address string) (net.Conn, error) {
	c := newConn(l, inner, address)
	l.mu.Lock()
	if l.refuse || l.pin != "" && l.pin != address {
		l.stats.Refused++
		l.mu.Unlock()
		inner.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	l.stats.Dials++
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	c.run()
	return c, nil
}

func (l *Proxy) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// Stall stops the given directions, both if none is given: bytes wait, connections stay, dials hang. To stall a direction
// that is stalled changes nothing.
func (l *Proxy) Stall(which ...Direction) {
	if len(which) == 0 {
		which = []Direction{Up, Down}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range which {
		if l.stalled[d] == nil {
			l.stalled[d] = make(chan struct{})
		}
	}
}

// Resume lets the given directions go on, both if none is given. What was stalled arrives, in order.
func (l *Proxy) Resume(which ...Direction) {
	if len(which) == 0 {
		which = []Direction{Up, Down}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range which {
		if stalled := l.stalled[d]; stalled != nil {
			close(stalled)
			l.stalled[d] = nil
		}
	}
}

// Reset breaks all connections and returns how many there were. The client's calls on them fail at once with
// syscall.ECONNRESET, also over a stalled proxy; bytes that were on the way are lost.
func (l *Proxy) Reset() int {
	return l.reset(func(*conn) bool { return true })
}

func (l *Proxy) reset(which func(*conn) bool) (n int) {
	l.mu.Lock()
	var all []*conn
	for c := range l.conns {
		if which(c) {
			all = append(all, c)
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		if c.abort(syscall.ECONNRESET) {
			n++
		}
	}
	l.mu.Lock()
	l.stats.Reset += int64(n)
	l.mu.Unlock()
	return n
}

// Refuse makes dials fail, or no longer. Connections stay: Reset breaks them.
func (l *Proxy) Refuse(refuse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// Delay makes what goes up and what goes down from now on arrive that much later, in order. Zero is no delay. It returns
// the delays before.
func (l *Proxy) Delay(up, down time.Duration) (upBefore, downBefore time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upBefore, downBefore = l.delay[Up], l.delay[Down]
	l.delay = [directions]time.Duration{Up: max(up, 0), Down: max(down, 0)}
	return upBefore, downBefore
}

// Pin lets the client reach one server only: dials of others are refused, connections to others reset. The empty address
// unpins.
func (l *Proxy) Pin(address string) {
	l.mu.Lock()
	l.pin = address
	l.mu.Unlock()
	if address != "" {
		l.reset(func(c *conn) bool { return c.address != address })
	}
}

// Heal undoes everything but delays that have begun: releases, accepts, unpins, and takes away traps.
func (l *Proxy) Heal() {
	l.Delay(0, 0)
	l.Refuse(false)
	l.Pin("")
	l.mu.Lock()
	l.traps = nil
	l.mu.Unlock()
	l.Resume()
}

// Connected returns the addresses of the servers that the client has connections to.
func (l *Proxy) Connected() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for c := range l.conns {
		all = append(all, c.address)
	}
	return all
}

// stalledIn returns what ends the stall of a direction, or nil.
func (l *Proxy) stalledIn(d Direction) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled[d] == nil {
		return nil
	}
	return l.stalled[d]
}

// due returns when a chunk that enters a direction now may leave it.
func (l *Proxy) due(d Direction) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delay[d] == 0 {
		return time.Time{}
	}
	l.stats.Delayed++
	return time.Now().Add(l.delay[d])
}

func (l *Proxy) countStalled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Stalled++
}

// String says what is broken.
func (l *Proxy) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("proxy(stalled up %t down %t, delay %v %v, refuse %t, pin %q, %d connections)",
		l.stalled[Up] != nil, l.stalled[Down] != nil, l.delay[Up], l.delay[Down], l.refuse, l.pin, len(l.conns))
}
