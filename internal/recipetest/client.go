package recipetest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A Client is a session whose frames are recorded.
type Client struct {
	*session.Session
	world *World

	mu       sync.Mutex
	requests []string
	moments  int
	at       int // the moment at which hook is called (see At); 0 means none
	hook     func()
	before   string // the request before which hook is called
	each     func() // called before each request
	refusals []*Refusal
}

// World returns the client's world.
func (c *Client) World() *World { return c.world }

// Requests returns the operations that were sent since the last call of Requests, Count or Expect,
// in order, by their names in the protocol. It leaves out renewals and read barriers (see
// IsRenewal), the removal of watches and the end of the session.
func (c *Client) Requests() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.requests, " ")
	c.requests = nil
	return s
}

// Expect waits until the bubble is idle. It fails the test unless the client has sent exactly the
// requests in `want` since the last call of Requests, Count or Expect.
func (c *Client) Expect(t *testing.T, what, want string) {
	t.Helper()
	synctest.Wait()
	if got := c.Requests(); got != want {
		t.Errorf("%s: sent %q, want %q", what, got, want)
	}
}

// Count waits until the bubble is idle, and returns the number of requests since the last call of
// Requests, Count or Expect.
func (c *Client) Count() int {
	synctest.Wait()
	return len(strings.Fields(c.Requests()))
}

// At calls `hook` at the n-th moment from now. A moment is a request that is sent, or a reply or
// event that arrives. The requests that Requests leaves out, and their replies, are not moments.
// Reached reports whether the n-th moment has come.
func (c *Client) At(n int, hook func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.moments, c.at, c.hook = "", 0, n, hook
}

// Before calls `hook` once, just before the client sends its next request with the given operation.
func (c *Client) Before(request string, hook func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.at, c.hook = request, 0, hook
}

// BeforeEach calls the function `hook` just before each request is sent.
func (c *Client) BeforeEach(hook func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.each = hook
}

// Reached reports whether the moment of the last call of At has come.
func (c *Client) Reached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moments >= c.at
}

func (c *Client) note(request string) {
	c.mu.Lock()
	if request != "" {
		c.requests = append(c.requests, request)
	}
	c.moments++
	hook, each := c.hook, c.each
	switch {
	case request != "" && request == c.before:
		c.before = ""
	case c.moments != c.at:
		hook = nil
	}
	c.mu.Unlock()
	if each != nil && request != "" {
		each()
	}
	if hook != nil {
		hook()
	}
}

// Lose ends the session on the server side, like its expiry.
func (c *Client) Lose() {
	if err := c.world.Expire(c.ID()); err != nil && !errors.Is(err, zktest.ErrClosed) {
		panic(err)
	}
}

func (c *Client) dial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &tap{Conn: &refusing{Conn: conn, c: c, codes: make(map[int32]wire.Code)}, c: c}, nil
	}
}

// A tap is a connection that records its frames.
type tap struct {
	net.Conn
	c                 *Client
	out, in           wire.Frames
	greeted, answered bool
	quiet             sync.Map // xids of requests that, like their replies, are not counted
}

func (t *tap) Write(p []byte) (int, error) {
	t.out.Feed(p, func(f wire.Frame) error {
		if !t.greeted {
			t.greeted = true
			return nil
		}
		if name := requestName(f.Head); name != "" {
			t.c.note(name)
		} else {
			t.quiet.Store(binary.BigEndian.Uint32(f.Head), true)
		}
		return nil
	})
	return t.Conn.Write(p)
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.in.Feed(p[:n], func(f wire.Frame) error {
		var h wire.ReplyHeader
		_, err := wire.Decode(f.Head, &h)
		if _, quiet := t.quiet.LoadAndDelete(uint32(h.Xid)); t.answered && err == nil && h.Xid != wire.XidPing && !quiet {
			t.c.note("")
		}
		t.answered = true
		return nil
	})
	return n, err
}

// requestName returns the name of a request, or "" if it is not counted.
func requestName(frame []byte) string {
	var h wire.RequestHeader
	body, err := wire.Decode(frame, &h)
	if err != nil {
		return "garbage"
	}
	if IsRenewal(h.Op, body) || h.Op == wire.OpRemoveWatches || h.Op == wire.OpCloseSession {
		return ""
	}
	return h.Op.String()
}

// IsRenewal reports whether a request only keeps a session or its lease: a ping, a heartbeat, or a
// sync of an idle session. It also returns true for a read barrier, which has the same form as a
// heartbeat, and for every other sync of the root.
func IsRenewal(op wire.Op, body []byte) bool {
	switch op {
	case wire.OpPing:
		return true
	case wire.OpMulti:
		return isHeartbeat(body)
	case wire.OpSync:
		return wire.FirstPath(op, body) == "/"
	}
	return false
}

// isHeartbeat reports whether a multi consists only of checks.
func isHeartbeat(body []byte) bool {
	var m wire.MultiRequest
	if _, err := wire.Decode(body, &m); err != nil {
		return false
	}
	for _, op := range m.Ops {
		if op.Op != wire.OpCheck {
			return false
		}
	}
	return true
}
