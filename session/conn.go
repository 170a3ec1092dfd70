package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// conn is one connection of the client. It passes each frame between the client and the server, and
// never lets the client begin a second session. It records when requests were sent and answered.
// These times are the evidence of the lease. It sets the watches of the session, and sends the
// session's own requests before those of the client.
type conn struct {
	net.Conn
	s      *Session
	server string
	opened time.Time

	handshake *time.Timer // closes the connection if the server does not answer
	closeOnce sync.Once

	// Guarded by the tap's mu.
	served bool   // the session was begun or resumed on this connection
	gone   bool   // closed
	drops  []byte // error replies to abandoned requests, which the client has not read yet

	// The channel `sending` is a lock: a goroutine holds it while the goroutine's token is in the
	// channel. Only the goroutine that holds `sending` may use the fields `out` and `greeted`.
	// `sending` is not a sync.Mutex, because its holder can block in a write.
	sending chan struct{}
	out     []byte
	greeted bool // the ConnectRequest was written

	// Only the client's receiving goroutine uses these fields.
	in       *bufio.Reader
	frame    []byte // buffer of the frame that was read last
	unread   []byte // the part of `frame` that the client has not read yet
	answered bool   // the ConnectResponse was read
	replies  bool   // the client has begun to read replies
}

// These xids are for requests of the session itself. The client never uses these xids, so it
// ignores replies that have them.
const (
	xidRemoveWatches = -5
	xidCatchUp       = -6
	xidIdle          = -7
)

// maxReply is the size in bytes of the largest reply that a session accepts. This limit protects
// against a peer that is not a ZooKeeper server.
const maxReply = 1 << 28

func newConn(s *Session, raw net.Conn, server string) *conn {
	c := &conn{
		Conn:    raw,
		s:       s,
		server:  server,
		opened:  time.Now(),
		sending: make(chan struct{}, 1),
		in:      bufio.NewReaderSize(raw, 32<<10),
	}
	// c.fail reads c.handshake, so the timer must not fire before c.handshake has been set. Reset
	// then sets the real duration.
	c.handshake = time.AfterFunc(math.MaxInt64, func() {
		c.fail(errNoAnswer)
	})
	c.handshake.Reset(handshakeBound(s.Timeout()))
	return c
}

// Close closes the connection.
func (c *conn) Close() error { return c.fail(errHungUp) }

// errHungUp is the reason for closing a connection that has no fault.
var errHungUp = errors.New("closed by this client")

// fail closes the connection. The first call also notifies the session. The notification comes
// before the close, because closing may take a while with TLS.
func (c *conn) fail(why error) error {
	c.closeOnce.Do(func() {
		c.handshake.Stop()
		c.s.tap.disconnected(c, why)
		if d := c.s.opts.dialer; d != nil {
			d.avoid(c.Conn.RemoteAddr().String()) // the next attempt uses another address of the same host name
		}
	})
	return c.Conn.Close()
}

// SetWriteDeadline does nothing, because the client's deadline would also apply to the frames that
// the session writes. Instead, the method `write` sets its own deadline.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets only the deadline of reads.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Write accepts one frame of the client, which writes each frame as a whole.
//
// If a request cannot be written, Write closes the connection but returns no error. The client then
// returns an error for the request, as for all requests that were not answered.
//
// If Write returned an error, the client could send three results to the channel of one request:
// one if the client is being closed when it queues the request, one for the error of Write, and one
// when the connection ends (queueRequest, sendData and flushRequests in go-zookeeper's conn.go).
// The channel has room for two results. So if the caller has already gone, the third would block
// the client forever.
func (c *conn) Write(frame []byte) (int, error) {
	if len(frame) < 12 || int(binary.BigEndian.Uint32(frame)) != len(frame)-4 {
		return 0, errors.New("session: the client did not write a whole frame")
	}
	c.sending <- struct{}{}
	defer func() { <-c.sending }()

	if !c.greeted {
		return c.greet(frame)
	}
	out, id, err := unmark(append(c.out[:0], frame...)) // a copy for unmark to change
	if err != nil {
		c.fail(err)
		return len(frame), nil
	}
	c.out = out
	first, sent, err := c.s.tap.sending(c, out[4:], id)
	switch {
	case errors.Is(err, errAbandoned):
		// The client gets an error as the reply to its request, together with the server's next
		// frame. The ping ensures that the server sends a frame.
		c.own(pingFrame())
		return len(frame), nil
	case err != nil:
		c.Close()
		return len(frame), nil
	}
	if len(first) > 0 {
		c.out = append(first, c.out...)
	}
	if err := c.write(c.out); err == nil && sent != nil {
		close(sent)
	}
	return len(frame), nil
}

// greet sends the client's ConnectRequest. If the session has already begun, greet first changes
// the request so that it resumes the session.
func (c *conn) greet(frame []byte) (int, error) {
	var request wire.ConnectRequest
	if _, err := wire.Decode(frame[4:], &request); err != nil {
		return 0, fmt.Errorf("session: connect request: %w", err)
	}
	if err := c.s.tap.resume(&request); err != nil {
		return 0, err
	}
	c.opened, c.greeted = time.Now(), true
	if _, err := c.Conn.Write(wire.AppendFrame(nil, &request)); err != nil {
		return 0, err
	}
	return len(frame), nil
}

// The method `ping` sends a ping of the session itself. The client ignores the answer, like the
// answers to its own pings. If another request is being sent, ping sends nothing, because that
// request is equally good evidence for the lease.
func (c *conn) ping() {
	select {
	case c.sending <- struct{}{}:
		defer func() { <-c.sending }()
		c.own(pingFrame())
	default:
	}
}

func pingFrame() []byte {
	return wire.AppendFrame(nil, &wire.RequestHeader{Xid: wire.XidPing, Op: wire.OpPing})
}

// The method `sync` sends a sync of the session itself.
func (c *conn) sync() {
	c.sending <- struct{}{}
	defer func() { <-c.sending }()
	c.own(wire.AppendFrame(nil, &wire.RequestHeader{Xid: xidIdle, Op: wire.OpSync}, &wire.Path{Path: c.s.root.inner("/")}))
}

// The method `own` sends a frame of the session itself. The caller holds c.sending.
func (c *conn) own(frame []byte) {
	if first, _, err := c.s.tap.sending(c, frame[4:], 0); err == nil {
		c.write(append(first, frame...))
	}
}

// The method `write` sends whole frames. The caller holds c.sending. If the socket has not accepted
// the frames within half a session timeout, write closes the connection.
func (c *conn) write(frames []byte) error {
	c.Conn.SetWriteDeadline(time.Now().Add(c.s.Timeout() / 2))
	if _, err := c.Conn.Write(frames); err != nil {
		c.fail(err)
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return nil
}

// Read returns the server's bytes to the client, frame by frame. The session evaluates each frame
// before the client can read it. If reading fails, Read closes the connection before it returns.
// Otherwise the client might dial the next connection while this one is still open.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		if err := c.nextFrame(); err != nil {
			// Under TLS 1.3, err can also mean that the server refused the client's certificate.
			// The refusal arrives only after the TLS handshake, instead of the ConnectResponse.
			if !c.answered {
				err = explainNoHandshake(err, c.s.opts.TLS != nil)
			}
			if errors.Is(err, ErrLost) {
				c.s.finish(err)
			}
			c.fail(err)
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *conn) nextFrame() error {
	c.frame = append(c.frame[:0], 0, 0, 0, 0) // the size
	if _, err := io.ReadFull(c.in, c.frame); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(c.frame)
	if size > maxReply {
		return noFrame([4]byte(c.frame))
	}
	if cap(c.frame) < int(size)+4 {
		c.frame = append(make([]byte, 0, size+4), c.frame...)
	}
	c.frame = c.frame[:size+4]
	if _, err := io.ReadFull(c.in, c.frame[4:]); err != nil {
		return err
	}
	c.unread = c.frame
	if !c.answered {
		limitReplies(c.s.zk, smallBuffer)
		return c.welcome()
	}
	if !c.replies {
		c.replies = true
		limitReplies(c.s.zk, 0)
	}
	own, err := c.s.tap.received(c, c.frame[4:])
	c.frame = append(c.frame, own...)
	c.unread = c.frame
	return err
}

// noFrame returns the error for bytes from the server that are not a frame.
func noFrame(head [4]byte) error {
	switch {
	case head[0] == 0x15 || head[0] == 0x16 && head[1] == 3: // a TLS alert or a TLS handshake
		return errors.New("server speaks TLS: set Options.TLS")
	case string(head[:]) == "HTTP":
		return errors.New("server speaks HTTP, not ZooKeeper's protocol")
	}
	return fmt.Errorf("server sent a frame of %d bytes, limit %d: it may not be a ZooKeeper server", binary.BigEndian.Uint32(head[:]), maxReply)
}

// The method `welcome` evaluates the ConnectResponse.
func (c *conn) welcome() error {
	var response wire.ConnectResponse
	if _, err := wire.Decode(c.frame[4:], &response); err != nil {
		return fmt.Errorf("session: connect response: %w", err)
	}
	c.answered = true
	c.handshake.Stop()
	// Credentials and then watches must be the first requests on the connection.
	c.sending <- struct{}{}
	defer func() { <-c.sending }()
	greeting, err := c.s.tap.connected(c, &response)
	if err != nil || len(greeting) == 0 {
		return err
	}
	return c.write(greeting)
}
