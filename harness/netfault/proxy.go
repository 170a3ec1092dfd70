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

// Direction is one of the two directions of a proxy.
type Direction int

// The directions.
const (
	Up   Direction = iota // from the client to the server
	Down                  // from the server to the client
	directions
)

// Proxy is one client's proxy to an ensemble. Its zero value is not usable: see New. Its methods
// may be called from several goroutines. Stalls, delays, pins and traps affect all connections,
// including later ones. Reset affects only existing connections, and Refuse only later ones.
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

// Stats count the effects of a proxy on its client: the evidence that a fault had an effect.
type Stats struct {
	Dials   int64 // connections established
	Stalled int64 // chunks of bytes, ends of connections and dials that had to wait for a resume
	Delayed int64 // chunks of bytes that were delayed
	Reset   int64 // connections reset
	Refused int64 // dials refused
	Sprung  int64 // traps that have sprung
}

// New returns a proxy without any fault. It connects with the function `dial`.
func New(dial ensemble.DialFunc) *Proxy {
	return &Proxy{dial: dial, conns: map[*conn]struct{}{}}
}

// Stats returns the counts so far.
func (l *Proxy) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// DialContext connects to address over the proxy. If the proxy is stalled, the dial waits for the
// resume, or until ctx ends. If the proxy refuses the dial, the error matches syscall.ECONNREFUSED.
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

// The method `admit` waits while the proxy is stalled. It returns an error if the dial is refused
// or ctx ends.
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
			stalled = l.stalled[Down] // A dial needs both directions, so a stall of either one blocks it.
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

// The method `adopt` adds a connection to the proxy. If Refuse or Pin was called during the dial
// and excludes the connection, adopt closes it and returns an error.
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

// Stall stops the given directions, or both if none is given: bytes wait, connections stay open,
// dials block. A direction that is already stalled is left unchanged.
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

// Resume resumes the given directions, or both if none is given. The stalled bytes arrive, in
// order.
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

// Reset breaks all connections and returns their number. The client's calls on them fail at once
// with syscall.ECONNRESET, even if the proxy is stalled. Bytes in transit are lost.
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

// Refuse makes dials fail if `refuse` is true, and allows them again if it is false. Connections
// stay open; Reset breaks them.
func (l *Proxy) Refuse(refuse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// Delay sets the delay of each direction for the bytes that are sent from now on, and returns the
// previous delays. Bytes keep their order. Zero is no delay.
func (l *Proxy) Delay(up, down time.Duration) (upBefore, downBefore time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upBefore, downBefore = l.delay[Up], l.delay[Down]
	l.delay = [directions]time.Duration{Up: max(up, 0), Down: max(down, 0)}
	return upBefore, downBefore
}

// Pin allows the client to reach only one server: dials of other servers are refused, and
// connections to them are reset. The empty address allows all servers again.
func (l *Proxy) Pin(address string) {
	l.mu.Lock()
	l.pin = address
	l.mu.Unlock()
	if address != "" {
		l.reset(func(c *conn) bool { return c.address != address })
	}
}

// Heal undoes all faults: it ends stalls and delays, accepts dials again, unpins, and removes
// traps. Bytes that are already being delayed keep their delay.
func (l *Proxy) Heal() {
	l.Delay(0, 0)
	l.Refuse(false)
	l.Pin("")
	l.mu.Lock()
	for _, t := range l.traps {
		t.removed = true
	}
	l.traps = nil
	l.mu.Unlock()
	l.Resume()
}

// Connected returns the addresses of the servers to which the client has connections.
func (l *Proxy) Connected() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for c := range l.conns {
		all = append(all, c.address)
	}
	return all
}

// stalledIn returns the channel that is closed at the end of a direction's stall, or nil if the
// direction is not stalled.
func (l *Proxy) stalledIn(d Direction) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled[d] == nil {
		return nil
	}
	return l.stalled[d]
}

// The method `due` returns the time at which a chunk that enters a direction now may leave it.
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

// String describes the active faults.
func (l *Proxy) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("proxy(stalled up %t down %t, delay %v %v, refuse %t, pin %q, %d connections)",
		l.stalled[Up] != nil, l.stalled[Down] != nil, l.delay[Up], l.delay[Down], l.refuse, l.pin, len(l.conns))
}
