package zktest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/quorum"
)

// A conn is the server's end of a client's connection. It splits the bytes from the client into
// frames, and keeps the bytes for the client until they are read. Connections in memory and over
// TCP use the same type.
type conn struct {
	e      *Ensemble
	server int

	// Guarded by e.mu.
	q      *quorum.Conn
	frames wire.Frames
	head   []byte // the first four bytes, which may be a four-letter word
	gate   *gate  // nil unless Options.Step is set

	mu    sync.Mutex
	out   []byte // bytes for the client
	sent  int    // number of bytes of `out` that the client has read
	ended bool   // no bytes follow those in `out`
	busy  bool   // a call of `feed` is in progress, and its caller will flush the output
	ready chan struct{}

	nc net.Conn // over TCP; nil in memory
}

func newConn(e *Ensemble, server int) *conn {
	return &conn{e: e, server: server, ready: make(chan struct{}, 1), frames: wire.Frames{Max: e.opts.MaxFrame}}
}

// The method `open` connects c to its server. It returns false if the server refuses the
// connection, or if the ensemble is closed.
func (e *Ensemble) open(c *conn, addr string) bool {
	e.do(func() {
		var sink quorum.Sink = c
		if e.stepper != nil {
			c.gate = e.stepper.newGate(c)
			sink = c.gate
		}
		if c.q = e.cluster.Connect(c.server, addr, sink); c.q == nil {
			return
		}
		e.conns[c] = struct{}{}
		if c.gate != nil {
			e.stepper.add(c.gate)
		}
	})
	return c.q != nil
}

// Send implements quorum.Sink.
func (c *conn) Send(frame []byte) {
	c.mu.Lock()
	if c.sent == len(c.out) {
		c.out, c.sent = c.out[:0], 0
	}
	c.out = append(c.out, frame...)
	busy := c.busy
	c.mu.Unlock()
	if !busy {
		signal(c.ready)
	}
}

// Close implements quorum.Sink.
func (c *conn) Close() { c.end() }

// lastWords is the time limit for a client over TCP to read the bytes that were sent before the
// server closed the connection.
const lastWords = time.Second

// The method `end` marks the output for the client as complete.
func (c *conn) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	if c.nc != nil {
		c.nc.SetWriteDeadline(time.Now().Add(lastWords))
	}
	signal(c.ready)
}

// errBad means that the bytes from the client are not frames.
var errBad = errors.New("zktest: bad bytes from client")

// The method `feed` processes bytes from the client. An error affects only this connection.
func (c *conn) feed(p []byte) {
	c.e.do(func() {
		if c.q == nil {
			return
		}
		var err error
		if p, err = c.opening(p); err == nil {
			err = c.frames.Feed(p, func(f wire.Frame) error {
				c.receive(bytes.Clone(f.Head))
				return nil
			})
		}
		if err != nil {
			c.hangupLocked()
			c.end()
		}
	})
}

// The method `opening` checks the first four bytes, and returns the bytes of p that remain for
// frames. If the first four bytes are a four-letter word, the connection serves only that word.
func (c *conn) opening(p []byte) ([]byte, error) {
	if len(c.head) == 4 {
		return p, nil
	}
	n := min(4-len(c.head), len(p))
	c.head, p = append(c.head, p[:n]...), p[n:]
	if len(c.head) < 4 {
		return nil, nil
	}
	if quorum.IsWord(c.head) {
		c.q.ReceiveWord(string(c.head), p)
		c.frames.Max = 1
		return nil, nil
	}
	// The four bytes are the length of the first frame. They complete this frame only if the length
	// is 0. Only then does Feed call the function, which returns an error, because the first frame
	// must not be empty.
	err := c.frames.Feed(c.head, func(wire.Frame) error { return errBad })
	return p, err
}

func (c *conn) receive(frame []byte) {
	if c.gate != nil {
		c.gate.fromClient(frame)
		return
	}
	c.q.Receive(frame)
}

// hangup records that the client has closed its end.
func (c *conn) hangup() { c.e.do(c.hangupLocked) }

func (c *conn) hangupLocked() {
	delete(c.e.conns, c)
	if c.q == nil {
		return
	}
	if c.gate != nil {
		c.gate.fromClient(nil)
		return
	}
	c.q.Hangup()
}

// The method `take` moves bytes for the client into p. After the last byte it returns io.EOF.
func (c *conn) take(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == len(c.out) && c.ended {
		return 0, io.EOF
	}
	n = copy(p, c.out[c.sent:])
	if c.sent += n; c.sent < len(c.out) || c.ended {
		signal(c.ready) // for the next reader
	}
	return n, nil
}
