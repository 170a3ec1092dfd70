package external

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
)

// An authConn sends the ensemble's credentials on a connection for any client. The client may be
// the harness's own session, a program under test in any language, or the connection with which a
// fault closes another client's session. The authConn sends the credentials after the client's
// request for a session, like ZooKeeper's own clients, and hides the replies from the client.
//
// Like a net.TCPConn, it allows one goroutine to read while another one writes.
type authConn struct {
	net.Conn
	auth []session.Auth

	// Used by the writer.
	head    []byte // the bytes of the first frame's length field that have been written so far
	left    int    // number of bytes of the first frame that are not yet written
	greeted bool   // the credentials were sent, or never will be

	plain atomic.Bool // the connection carries a four-letter word instead of a session

	// Used by the reader.
	unread   []byte // bytes for the client
	rest     []byte // bytes that came after those in `unread`; less than a frame
	opened   bool   // the reply to the request for a session has come
	answered int    // how many credentials were answered
	refused  error
}

// longestGreeting separates requests for a session from four-letter words. The first four bytes of
// a request are its size, which is smaller than longestGreeting. The letters of a word, read as a
// number, are larger.
const longestGreeting = 1 << 20

func (c *authConn) Write(p []byte) (int, error) {
	if c.greeted {
		return c.Conn.Write(p)
	}
	end := c.greeting(p)
	if end < 0 {
		return c.Conn.Write(p)
	}
	c.greeted = true
	out := append([]byte{}, p[:end]...)
	for _, a := range c.auth {
		out = wire.AppendFrame(out, &wire.RequestHeader{Xid: wire.XidAuth, Op: wire.OpAuth}, &wire.AuthRequest{Scheme: a.Scheme, Auth: a.Data})
	}
	if _, err := c.Conn.Write(append(out, p[end:]...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// The method `greeting` returns the index in p at which the first frame ends, or -1 if the first
// frame does not end in p.
func (c *authConn) greeting(p []byte) int {
	n := min(4-len(c.head), len(p))
	if len(c.head) < 4 {
		if c.head = append(c.head, p[:n]...); len(c.head) < 4 {
			return -1
		}
		size := binary.BigEndian.Uint32(c.head)
		if size > longestGreeting {
			c.greeted = true
			c.plain.Store(true)
			return -1
		}
		c.left = int(size)
	}
	if c.left > len(p)-n {
		c.left -= len(p) - n
		return -1
	}
	return n + c.left
}

func (c *authConn) Read(p []byte) (int, error) {
	for {
		switch {
		case len(c.unread) > 0:
			n := copy(p, c.unread)
			c.unread = c.unread[n:]
			return n, nil
		case c.refused != nil:
			return 0, c.refused
		case c.answered == len(c.auth):
			return c.Conn.Read(p)
		}
		buffer := make([]byte, 4096)
		n, err := c.Conn.Read(buffer)
		if c.plain.Load() {
			c.answered = len(c.auth)
			c.unread = buffer[:n]
		} else {
			c.rest = append(c.rest, buffer[:n]...)
			c.sort()
		}
		if err != nil && len(c.unread) == 0 && c.refused == nil {
			return 0, err // a partial frame is useless
		}
	}
}

// The method `sort` removes whole frames from the field `rest`. It appends the frames that are for
// the client to the field `unread`, and evaluates the replies to the credentials.
func (c *authConn) sort() {
	for c.answered < len(c.auth) && len(c.rest) >= 4 {
		size := 4 + uint64(binary.BigEndian.Uint32(c.rest)) // not an int, which would overflow if it has 32 bits
		if uint64(len(c.rest)) < size {
			return
		}
		frame := c.rest[:size]
		c.rest = c.rest[size:]
		if reply, _, err := wire.CutReply(frame[4:]); c.opened && err == nil && reply.Xid == wire.XidAuth {
			if reply.Err != wire.OK {
				c.refused = fmt.Errorf("external ensemble: %v: %w: %w", c.auth[c.answered], session.ErrCredentials, reply.Err)
				return
			}
			c.answered++
			continue
		}
		c.opened = true
		c.unread = append(c.unread, frame...)
	}
	if c.answered == len(c.auth) {
		c.unread, c.rest = append(c.unread, c.rest...), nil
	}
}

// CloseWrite closes the direction to the server, if the connection supports that.
func (c *authConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
