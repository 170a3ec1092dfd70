package session

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A parkedConn is a connection without a server, for a client whose session is over. It answers the
// handshake and the request to close, and no other request.
//
// If the client had no connection at all, its Close could wait a whole second: the request to close
// may be queued after the client has read the queue for the last time.
type parkedConn struct {
	timeout time.Duration
	parked  func() // called when the client has read the answer to its handshake

	mu      sync.Mutex
	ready   *sync.Cond
	greeted bool
	closed  bool
	in      []byte // bytes that the client has not read yet
}

func newParkedConn(timeout time.Duration, parked func()) *parkedConn {
	c := &parkedConn{timeout: timeout, parked: parked}
	c.ready = sync.NewCond(&c.mu)
	return c
}

// Write accepts one frame. The client writes each frame as a whole.
func (c *parkedConn) Write(frame []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if !c.greeted {
		c.greeted = true
		c.in = wire.AppendFrame(c.in, &wire.ConnectResponse{
			Timeout: int32(c.timeout / time.Millisecond), SessionID: 1, Password: make([]byte, 16),
		})
	} else if h, _, err := wire.CutRequest(frame[4:]); err == nil && h.Op == wire.OpCloseSession {
		c.in = wire.AppendFrame(c.in, &wire.ReplyHeader{Xid: h.Xid})
	}
	c.ready.Broadcast()
	return len(frame), nil
}

func (c *parkedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 && !c.closed {
		c.ready.Wait()
	}
	if c.closed {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.parked()
	}
	return n, nil
}

func (c *parkedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.ready.Broadcast()
	return nil
}

func (c *parkedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *parkedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *parkedConn) SetDeadline(time.Time) error      { return nil }
func (c *parkedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *parkedConn) SetWriteDeadline(time.Time) error { return nil }
