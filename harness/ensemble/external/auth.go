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

// An authConn gives the ensemble's credentials on a connection, whatever client is on it: the harness's own session, a
// program under test in any language, or a fault that closes somebody's session. It sends them behind the client's request
// for a session, as ZooKeeper's own clients do, and keeps the answers from the client.
//
// Like a net.TCPConn, it may be read by one goroutine while another one writes.
type authConn struct {
	net.Conn
	auth []session.Auth

	// Of the writer.
	head    []byte // the length of the first frame, as far as it was written
	left    int    // what is missing of the first frame
	greeted bool   // the credentials were sent, or never will be

	plain atomic.Bool // there is no session on the connection: it is a four-letter word

	// Of the reader.
	unread   []byte // what the client may read
	rest     []byte // what came behind it, less than a frame
	opened   bool   // the answer to the request for a session has come
	answered int    // how many credentials were
	refused  error
}

// longestGreeting is more than a request for a session takes, in bytes, and less than any four letters stand for.
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

// greeting returns where the first frame ends in the next bytes written, -1 if it does not.
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
			return 0, err // what came in part is of no use to anybody
		}
	}
}

// sort takes whole frames from the rest, those for the client to what it may read.
func (c *authConn) sort() {
	for c.answered < len(c.auth) && len(c.rest) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.rest))
		if len(c.rest) < size {
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

// CloseWrite ends the stream to the server, if the connection is able to.
func (c *authConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
