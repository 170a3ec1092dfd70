package process

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// The type `gate` can stop or delay the data in one direction between two nodes, or stop the data
// in a log's pipe. The zero value is open.
type gate struct {
	mu      sync.Mutex
	mended  chan struct{} // not nil while cut; closed by mend
	stopped atomic.Int64  // chunks and connections that the cut stopped

	distance ensemble.Pace                 // always applies
	pace     atomic.Pointer[ensemble.Pace] // of a fault, in addition to the distance; nil is none
	paced    atomic.Int64                  // chunks that a fault delayed
}

// The method `due` returns the time at which a chunk of n bytes that is sent now should arrive. The
// argument `last` is the time at which the previous chunk arrives.
func (g *gate) due(now, last time.Time, n int) time.Time {
	p := g.distance
	if more := g.pace.Load(); more != nil && *more != (ensemble.Pace{}) {
		g.paced.Add(1)
		p.Delay, p.Jitter = p.Delay+more.Delay, p.Jitter+more.Jitter
		if more.Rate > 0 && (p.Rate == 0 || more.Rate < p.Rate) {
			p.Rate = more.Rate
		}
	}
	if p == (ensemble.Pace{}) {
		return last // no chunk overtakes another
	}
	at := now.Add(p.Delay)
	if p.Jitter > 0 {
		at = at.Add(time.Duration(rand.Int64N(int64(p.Jitter))))
	}
	if last.After(at) {
		at = last
	}
	if p.Rate > 0 {
		at = at.Add(time.Duration(n) * time.Second / time.Duration(p.Rate))
	}
	return at
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mended == nil {
		g.mended = make(chan struct{})
	}
}

func (g *gate) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mended != nil {
		close(g.mended)
		g.mended = nil
	}
}

// The method `standing` returns the channel that is closed at the end of the cut, or nil if there
// is no cut.
func (g *gate) standing() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mended
}

// The method `pass` waits until the direction is open. It returns false if the channel `done` is
// closed first.
func (g *gate) pass(done <-chan struct{}) bool {
	for {
		mended := g.standing()
		if mended == nil {
			return true
		}
		g.stopped.Add(1)
		select {
		case <-mended:
		case <-done:
			return false
		}
	}
}

// The type `relay` carries the connections that one node opens to one port of another node.
type relay struct {
	listener  net.Listener
	there     *gate                            // for data from the node that dials
	back      *gate                            // for data to the node that dials
	target    func() string                    // returns the current address of the other node
	translate func(net.Conn) (net.Conn, error) // changes the dialer's first message; nil changes nothing

	done chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	live map[net.Conn]struct{}
}

// The method `listen` starts a relay on a port of the loopback interface.
func (r *relay) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.listener, r.done, r.live = l, make(chan struct{}), map[net.Conn]struct{}{}
	r.wg.Go(r.accept)
	return nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// The method `close` ends all connections and waits for their goroutines.
func (r *relay) close() {
	close(r.done)
	r.listener.Close()
	r.mu.Lock()
	for c := range r.live {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// The connection ended before it was accepted, or there are too many open files.
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.done:
			}
			continue
		}
		if !r.own(c) {
			return
		}
		r.wg.Go(func() { r.carry(c) })
	}
}

// The method `own` registers a connection, so that the method `close` closes it. If the relay is
// already closed, `own` closes the connection and returns false.
func (r *relay) own(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		c.Close()
		return false
	default:
		r.live[c] = struct{}{}
		return true
	}
}

func (r *relay) disown(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, c)
}

// The method `carry` connects an accepted connection to the target. A handshake needs both
// directions, so a cut of either direction resets the connection.
func (r *relay) carry(in net.Conn) {
	defer r.disown(in)
	for _, g := range []*gate{r.there, r.back} {
		if g.standing() != nil {
			g.stopped.Add(1)
			reset(in)
			return
		}
	}
	out, err := net.Dial("tcp", r.target())
	if err != nil {
		reset(in) // the dialer gets the same error as from a closed port
		return
	}
	if !r.own(out) {
		return
	}
	defer r.disown(out)
	from := in
	if r.translate != nil {
		if from, err = r.translate(in); err != nil {
			return
		}
	}
	var both sync.WaitGroup
	both.Go(func() { r.copy(out, from, r.there) })
	both.Go(func() { r.copy(in, out, r.back) })
	both.Wait()
}

// The function `reset` closes a connection so that the other end reads an error instead of io.EOF.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// A parcel is the result of one read, and the time at which it should arrive.
type parcel struct {
	data []byte
	err  error
	due  time.Time
}

// onTheWay is the maximum number of delayed parcels in one direction of a connection. When it is
// reached, the relay stops reading.
const onTheWay = 64

// The method `copy` carries one direction of a connection. It delivers the end of the stream only
// while the gate is open. During a cut, a node must not be able to detect that the other node has
// gone.
func (r *relay) copy(to, from net.Conn, g *gate) {
	parcels, over := make(chan parcel, onTheWay), make(chan struct{})
	defer close(over)
	r.wg.Go(func() { read(from, g, parcels, over) })
	for one := range parcels {
		if !arrive(one.due, r.done) || !g.pass(r.done) {
			return
		}
		if len(one.data) > 0 {
			if _, err := to.Write(one.data); err != nil {
				from.Close()
				return
			}
		}
		switch {
		case errors.Is(one.err, io.EOF):
			if tcp, ok := to.(*net.TCPConn); ok {
				tcp.CloseWrite()
			}
		case one.err != nil:
			reset(to)
		}
	}
}

// The function `read` sends the data that it reads to the channel `parcels`. It returns at the end
// of the stream or when the channel `over` is closed. The last parcel has the error that ended the
// stream.
func read(from net.Conn, g *gate, parcels chan<- parcel, over <-chan struct{}) {
	defer close(parcels)
	var last time.Time
	for {
		chunk := make([]byte, 32<<10)
		n, err := from.Read(chunk)
		last = g.due(time.Now(), last, n)
		select {
		case parcels <- parcel{chunk[:n], err, last}:
		case <-over:
			return
		}
		if err != nil {
			return
		}
	}
}

// The function `arrive` waits until the time `due`. It returns false if the channel `done` is
// closed first.
func arrive(due time.Time, done <-chan struct{}) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}

// greetingHead is the size in bytes of the fixed part of a greeting. A greeting is the first
// message of a node on an election connection: a version, the node's id, and the length and the
// text of the node's election address.
const greetingHead = 8 + 8 + 4

// The function `greet` returns a function for relay.translate. The returned function replaces the
// address in the greeting with the result of the function `address`.
func greet(address func() string) func(net.Conn) (net.Conn, error) {
	return func(c net.Conn) (net.Conn, error) {
		head := make([]byte, greetingHead)
		if _, err := io.ReadFull(c, head); err != nil {
			return nil, err
		}
		size := binary.BigEndian.Uint32(head[16:])
		if size > 1<<12 {
			return nil, errors.New("not the greeting of an election connection")
		}
		if _, err := io.CopyN(io.Discard, c, int64(size)); err != nil {
			return nil, err
		}
		text := address()
		binary.BigEndian.PutUint32(head[16:], uint32(len(text)))
		return &prefixed{Conn: c, prefix: append(head, text...)}, nil
	}
}

// The type `prefixed` is a connection whose reader gets a prefix before the connection's own bytes.
// It returns the whole prefix from one Read, because a node rejects a partial greeting.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
