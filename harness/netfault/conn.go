package netfault

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// conn is the client's end of one connection of a proxy.
type conn struct {
	proxy   *Proxy
	inner   net.Conn
	address string
	up      *stream // from Write to the inner connection
	down    *stream // from the inner connection to Read

	readBy, writeBy deadline

	requests wire.Frames // used only by pumpUp
	replies  wire.Frames // used only by pumpDown

	closing sync.Once
	closed  chan struct{} // closed when the inner connection is closed
	unsent  chan struct{} // closed when nothing more will be sent; not closed if gentle is set

	mu       sync.Mutex
	gentle   bool            // the inner connection stays open until the server or the linger timer ends it
	linger   *time.Timer     // aborts the connection after lingerTime; nil until it is started
	awaiting map[int32]*Trap // by xid of the request; the trap springs at its reply
}

var _ net.Conn = (*conn)(nil)

func newConn(l *Proxy, inner net.Conn, address string) *conn {
	c := &conn{
		proxy: l, inner: inner, address: address,
		up: newStream(l, Up), down: newStream(l, Down),
		closed: make(chan struct{}), unsent: make(chan struct{}), awaiting: map[int32]*Trap{},
	}
	c.readBy.init()
	c.writeBy.init()
	// Traps need only the head of a frame: header and path.
	c.requests = wire.Frames{Max: maxFrame, Keep: 512}
	c.replies = wire.Frames{Max: maxFrame, Keep: 16}
	return c
}

// maxFrame is far larger than any frame that a server accepts. Data that claim a longer frame are
// not frames: they are a four-letter word, or encrypted.
const maxFrame = 64 << 20

// The method `run` starts the two goroutines of the connection. Both goroutines end when the
// connection is closed, because the inner connection is then closed too.
func (c *conn) run() {
	go c.pumpUp()
	go c.pumpDown()
}

func (c *conn) pumpUp() {
	defer func() {
		if !c.endsGently() {
			close(c.unsent)
		}
	}()
	scan := c.scanner(&c.requests, c.trapRequest)
	for {
		data, err := c.up.pop(room, nil)
		if err != nil {
			if !c.endsGently() {
				c.closeInner()
			}
			return
		}
		for _, p := range scan(data) {
			if p.trap != nil && !c.spring(p.trap) {
				return
			}
			if p.trap != nil && !c.pass(Up) {
				return
			}
			if _, err := c.inner.Write(p.data); err != nil {
				c.up.kill(err)
				return // Read detects the error itself, after the data that the server has already sent.
			}
		}
	}
}

func (c *conn) pumpDown() {
	scan := c.scanner(&c.replies, c.trapReply)
	buffer := make([]byte, 32<<10)
	for {
		n, err := c.inner.Read(buffer)
		for _, p := range scan(buffer[:n]) {
			if p.trap != nil && !c.spring(p.trap) {
				c.drain()
				return
			}
			for len(p.data) > 0 {
				n, err := c.down.push(p.data, nil)
				if err != nil {
					c.drain()
					return
				}
				p.data = p.data[n:]
			}
		}
		if err != nil {
			c.down.finish(err)
			if c.endsGently() {
				c.closeInner()
			}
			return
		}
	}
}

// The method `drain` discards incoming data until the server or the linger timer ends the
// connection.
func (c *conn) drain() {
	io.Copy(io.Discard, c.inner)
	c.closeInner()
}

// The method `pass` waits until a direction is not stalled. It returns false if the connection is
// closed first.
func (c *conn) pass(d Direction) bool {
	for stalled := c.proxy.stalledIn(d); stalled != nil; stalled = c.proxy.stalledIn(d) {
		select {
		case <-stalled:
		case <-c.closed:
			return false
		}
	}
	return true
}

// The method `spring` performs the action of a trap, unless the trap was removed or has already
// sprung. It returns false if the action ended the connection.
func (c *conn) spring(t *Trap) bool {
	if !c.proxy.springs(t) {
		return true
	}
	defer t.done()
	if t.then == Reset {
		c.endGently(syscall.ECONNRESET)
		return false
	}
	d := Up
	if t.When == BeforeReply {
		d = Down
	}
	c.proxy.Stall(d)
	return true
}

// endGently ends the connection with an error for the client, but lets the server read and execute
// the requests that were sent earlier. If a TCP connection is closed while replies are unread, the
// server may lose such requests.
func (c *conn) endGently(err error) {
	c.mu.Lock()
	// Set `gentle` first. If it were set later, the connection's other goroutine, or the client's
	// Close after the error, could close the inner connection at once.
	c.gentle = true
	c.mu.Unlock()
	c.down.finish(err)
	c.up.kill(err)
	c.proxy.forget(c)
	half, ok := c.inner.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.closeInner()
		return
	}
	c.lingerOn()
}

func (c *conn) endsGently() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gentle
}

// The method `abort` breaks the connection with an error for the client. It returns false if the
// connection was already over.
func (c *conn) abort(err error) (first bool) {
	c.down.kill(err)
	c.up.kill(err)
	return c.closeInner()
}

func (c *conn) closeInner() (first bool) {
	c.closing.Do(func() {
		first = true
		close(c.closed)
		c.inner.Close()
		c.up.kill(net.ErrClosed) // Its data, stalled or not, can no longer arrive.
		c.proxy.forget(c)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.linger != nil {
			c.linger.Stop()
		}
	})
	return first
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	data, err := c.down.pop(len(b), c.readBy.expired())
	return copy(b, data), c.wrap("read", err)
}

// Write implements net.Conn. It returns when all of b is buffered, not when b was sent.
func (c *conn) Write(b []byte) (n int, err error) {
	if isClosed(c.writeBy.expired()) {
		return 0, c.wrap("write", os.ErrDeadlineExceeded)
	}
	for n < len(b) && err == nil {
		var m int
		m, err = c.up.push(b[n:], c.writeBy.expired())
		n += m
	}
	return n, c.wrap("write", err)
}

// lingerTime is how long the inner connection may stay open after Close or after the reset by a
// trap, so that bytes that were already written can still arrive.
const lingerTime = time.Second

// Close implements net.Conn. It does not wait. Bytes that were already written still arrive before
// the end of the connection, if they can within a second.
func (c *conn) Close() error {
	c.down.kill(net.ErrClosed)
	c.up.finish(net.ErrClosed)
	if isClosed(c.unsent) {
		c.closeInner()
		return nil
	}
	c.lingerOn()
	return nil
}

// lingerOn starts the timer that aborts the connection after lingerTime.
func (c *conn) lingerOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.linger == nil && !isClosed(c.closed) {
		c.linger = time.AfterFunc(lingerTime, func() { c.abort(net.ErrClosed) })
	}
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: c.inner.RemoteAddr(), Err: err}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.inner.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { c.readBy.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }

// The type `deadline` is a time that can be moved and waited for.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{} // closed when the time has come
}

func (d *deadline) init() { d.past = make(chan struct{}) }

func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.past
}

// The method `set` moves the deadline. Callers that already wait for the channel `past` continue to
// wait for this channel. So `set` replaces the channel only if the channel is closed.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isClosed(d.past) {
		d.past = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	past := d.past
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // not moved since
				close(past)
			}
		})
		d.timer = timer
		return
	}
	close(past)
}
