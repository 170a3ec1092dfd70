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

// Direction is one of the two ways of a link.
type Direction int

// The directions.
const (
	Up   Direction = iota // from the client to the server
	Down                  // from the server to the client
	directions
)

// Link is one client's link to an ensemble. Its zero value cannot be used: see New. Its methods may be called from several
// goroutines, and take effect on all connections, those to come too.
type Link struct {
	dial ensemble.DialFunc

	mu     sync.Mutex
	held   [directions]chan struct{} // not nil while held; closed on release
	delay  [directions]time.Duration
	refuse bool
	pin    string // empty if not pinned
	conns  map[*conn]struct{}
	traps  []*Trap
	stats  Stats
}

// Stats count what a link has done to its client: the proof that a fault bit.
type Stats struct {
	Dials   int64 // connections made
	Held    int64 // chunks of bytes, ends of connections and dials that had to wait for a release
	Delayed int64 // chunks of bytes that were delayed
	Reset   int64 // connections reset
	Refused int64 // dials refused
	Sprung  int64 // traps that have sprung
}

// New returns a link over dial, with nothing broken.
func New(dial ensemble.DialFunc) *Link {
	return &Link{dial: dial, conns: map[*conn]struct{}{}}
}

// Stats returns the counts so far.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// DialContext connects to address over the link. A dial over a held link waits for the release, and ends with ctx before that.
// One that is refused is an error that matches syscall.ECONNREFUSED.
func (l *Link) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
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
func (l *Link) admit(ctx context.Context, address string) error {
	for waited := false; ; waited = true {
		l.mu.Lock()
		if l.refuse || l.pin != "" && l.pin != address {
			l.stats.Refused++
			l.mu.Unlock()
			return syscall.ECONNREFUSED
		}
		held := l.held[Up]
		if held == nil {
			held = l.held[Down] // The answer to a dial gets lost as well as the dial.
		}
		if held != nil && !waited {
			l.stats.Held++
		}
		l.mu.Unlock()
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adopt makes a connection one of the link's, unless it was refused or pinned elsewhere meanwhile.
func (l *Link) adopt(inner net.Conn, address string) (net.Conn, error) {
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

func (l *Link) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// Hold stops the given directions, both if none is given: bytes wait, connections stay, dials hang. To hold a direction
// that is held changes nothing.
func (l *Link) Hold(which ...Direction) {
	if len(which) == 0 {
		which = []Direction{Up, Down}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range which {
		if l.held[d] == nil {
			l.held[d] = make(chan struct{})
		}
	}
}

// Release lets the given directions go on, both if none is given. What was held arrives, in order.
func (l *Link) Release(which ...Direction) {
	if len(which) == 0 {
		which = []Direction{Up, Down}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range which {
		if held := l.held[d]; held != nil {
			close(held)
			l.held[d] = nil
		}
	}
}

// Reset breaks all connections and returns how many there were. The client's calls on them fail at once with
// syscall.ECONNRESET, also over a held link; bytes that were on the way are lost.
func (l *Link) Reset() int {
	return l.reset(func(*conn) bool { return true })
}

func (l *Link) reset(which func(*conn) bool) (n int) {
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
func (l *Link) Refuse(refuse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// Delay makes what goes up and what goes down from now on arrive that much later, in order. Zero is no delay.
func (l *Link) Delay(up, down time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = [directions]time.Duration{Up: max(up, 0), Down: max(down, 0)}
}

// Pin lets the client reach one server only: dials of others are refused, connections to others reset. The empty address
// unpins.
func (l *Link) Pin(address string) {
	l.mu.Lock()
	l.pin = address
	l.mu.Unlock()
	if address != "" {
		l.reset(func(c *conn) bool { return c.address != address })
	}
}

// Heal undoes everything but delays that have begun: releases, accepts, unpins, and takes away traps.
func (l *Link) Heal() {
	l.Delay(0, 0)
	l.Refuse(false)
	l.Pin("")
	l.mu.Lock()
	l.traps = nil
	l.mu.Unlock()
	l.Release()
}

// Connected returns the addresses of the servers that the client has connections to.
func (l *Link) Connected() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for c := range l.conns {
		all = append(all, c.address)
	}
	return all
}

// heldIn returns what ends the hold of a direction, or nil.
func (l *Link) heldIn(d Direction) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[d] == nil {
		return nil
	}
	return l.held[d]
}

// due returns when a chunk that enters a direction now may leave it.
func (l *Link) due(d Direction) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delay[d] == 0 {
		return time.Time{}
	}
	l.stats.Delayed++
	return time.Now().Add(l.delay[d])
}

func (l *Link) countHeld() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Held++
}

// String says what is broken.
func (l *Link) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("link(held up %t down %t, delay %v %v, refuse %t, pin %q, %d connections)",
		l.held[Up] != nil, l.held[Down] != nil, l.delay[Up], l.delay[Down], l.refuse, l.pin, len(l.conns))
}
