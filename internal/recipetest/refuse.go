package recipetest

import (
	"encoding/binary"
	"fmt"
	"net"
	"path"
	"sync"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Refusal is a rule that makes a client's requests fail with an error and without an effect. A
// server does this if it is too busy, or if a quota is used up.
type Refusal struct {
	Op    string // the operation, by its name in the protocol
	Path  string // pattern for the first path in the request, as in path.Match
	Skip  int    // number of matching requests to let through first
	Count int    // number of matching requests to refuse after that; 0 means all
	Code  wire.Code

	c      *Client
	seen   int
	lifted bool
}

// Refuse activates a refusal. The test fails unless the refusal has refused a request by the end of
// the test.
func (c *Client) Refuse(r Refusal) *Refusal { return c.RefuseSome(r)[0] }

// RefuseSome activates several refusals. The test fails unless at least one of them has refused a
// request by the end of the test.
func (c *Client) RefuseSome(refusals ...Refusal) []*Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	var active []*Refusal
	for _, r := range refusals {
		r.c = c
		active = append(active, &r)
	}
	c.refusals = append(c.refusals, active...)
	c.world.mustFire(fmt.Sprintf("refusals %+v", refusals), func() (fired int) {
		for _, r := range active {
			fired += r.Fired()
		}
		return fired
	})
	return active
}

// Fired returns the number of requests that were refused.
func (r *Refusal) Fired() int {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return max(0, min(r.seen-r.Skip, r.last()-r.Skip))
}

// Lift ends the refusal.
func (r *Refusal) Lift() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.lifted = true
}

// The method `last` returns the number of the last request to refuse, counted from 1 among the
// matching requests.
func (r *Refusal) last() int {
	if r.Count == 0 {
		return 1 << 30
	}
	return r.Skip + r.Count
}

// refuses returns the error with which a request is refused, or OK if it is not refused.
func (c *Client) refuses(h wire.RequestHeader, body []byte) wire.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.refusals {
		if match, _ := path.Match(r.Path, wire.FirstPath(h.Op, body)); !match || r.Op != h.Op.String() || r.lifted {
			continue
		}
		if r.seen++; r.seen > r.Skip && r.seen <= r.last() {
			return r.Code
		}
	}
	return wire.OK
}

// A refusing is a connection that applies refusals. Instead of a refused request, it sends a
// harmless request to the server. In the reply to that request, it replaces the error with the
// refusal's error. So the replies keep their order.
type refusing struct {
	net.Conn
	c       *Client
	greeted bool
	in, out []byte // in: read, but not a whole frame yet; out: for the next Read

	mu    sync.Mutex
	codes map[int32]wire.Code // errors of the refused requests, by xid
}

func (r *refusing) Write(p []byte) (int, error) {
	if !r.greeted { // the handshake is not a request
		r.greeted = true
		return r.Conn.Write(p)
	}
	var frames []byte
	for rest := p; len(rest) > 0; { // the session writes only whole frames
		n := 4 + int(binary.BigEndian.Uint32(rest))
		frames = append(frames, r.replaced(rest[:n])...)
		rest = rest[n:]
	}
	if _, err := r.Conn.Write(frames); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r *refusing) replaced(frame []byte) []byte {
	var h wire.RequestHeader
	body, err := wire.Decode(frame[4:], &h)
	if err != nil {
		return frame
	}
	code := r.c.refuses(h, body)
	if code == wire.OK {
		return frame
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[h.Xid] = code
	return wire.AppendFrame(nil, &wire.RequestHeader{Xid: h.Xid, Op: wire.OpExists}, &wire.PathWatch{Path: "/"})
}

func (r *refusing) Read(p []byte) (int, error) {
	buf := make([]byte, 4096)
	for len(r.out) == 0 {
		n, err := r.Conn.Read(buf)
		r.in = append(r.in, buf[:n]...)
		for len(r.in) >= 4 && len(r.in) >= 4+int(binary.BigEndian.Uint32(r.in)) {
			n := 4 + int(binary.BigEndian.Uint32(r.in))
			r.out = append(r.out, r.answered(r.in[:n])...)
			r.in = r.in[n:]
		}
		if err != nil && len(r.out) == 0 {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *refusing) answered(frame []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var h wire.ReplyHeader
	if _, err := wire.Decode(frame[4:], &h); err != nil || r.codes[h.Xid] == wire.OK {
		return frame
	}
	h.Err = r.codes[h.Xid]
	delete(r.codes, h.Xid)
	return wire.AppendFrame(nil, &h)
}
