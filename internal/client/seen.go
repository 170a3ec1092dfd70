package client

import (
	"context"
	"encoding/binary"
	"net"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Session is a session that a server gave to a client. If the server refused to resume the
// session, ID is 0.
type Session struct {
	ID       int64
	Password []byte
	Timeout  time.Duration
}

// The function `seeing` returns a dialer that calls `seen` with the session in each answer to a
// connect request.
func seeing(dial Dial, seen func(Session)) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &seenConn{Conn: conn, seen: seen}, nil
	}
}

// A seenConn collects the first bytes from the server until they form the answer to the client's
// connect request. Only one goroutine reads from a seenConn.
type seenConn struct {
	net.Conn
	seen  func(Session)
	first []byte
	done  bool
}

// mostAnswer is a length in bytes. The answer to a connect request is always shorter.
const mostAnswer = 256

// Read reads from the server.
func (c *seenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.done {
		c.first = append(c.first, b[:n]...)
		if s, found, more := answered(c.first); !more {
			c.done, c.first = true, nil
			if found {
				c.seen(s)
			}
		}
	}
	return n, err
}

// The function `answered` parses the first bytes that a server sent on a connection. If they are
// the answer to a connect request, `found` is true. If more bytes are needed to decide this, `more`
// is true. If the bytes are anything else, both are false.
//
// For example, the bytes may be the answer to a four-letter command. The function recognizes such
// an answer by its first four bytes: taken as the length of a frame, they exceed mostAnswer.
func answered(b []byte) (s Session, found, more bool) {
	if len(b) < 4 {
		return s, false, true
	}
	size := binary.BigEndian.Uint32(b)
	if size > mostAnswer { // compared before the conversion: an int can have 32 bits
		return s, false, false
	}
	n := int(size)
	if len(b) < 4+n {
		return s, false, true
	}
	var r wire.ConnectResponse
	if _, err := wire.Decode(b[4:4+n], &r); err != nil {
		return s, false, false
	}
	return Session{r.SessionID, r.Password, time.Duration(r.Timeout) * time.Millisecond}, true, false
}
