package recipetest

import (
	"encoding/binary"
	"net"
	"path"
	"sync"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Refusal is a rule by which a client's requests are answered with an error and
// not executed, as by a server that is too busy, or where a quota is used up.
type Refusal struct {
	Op    string // in the protocol's own names
	Path  string // pattern, as for path.Match, of the first path in the request
	Skip  int    // how many of those are let through first
	Count int    // how many are refused then; 0 is all
	Code  wire.Code

	c    *Client
	seen int
}

// Refuse puts a refusal to work.
func (c *Client) Refuse(r Refusal) *Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.c = c
	c.refusals = append(c.refusals, &r)
	return &r
}

// Fired is how many requests were refused.
func (r *Refusal) Fired() int {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return max(0, min(r.seen-r.Skip, r.last()-r.Skip))
}

// last is the number of the last request that is refused.
func (r *Refusal) last() int {
	if r.Count == 0 {
		return 1 << 30
	}
	return r.Skip + r.Count
}

// refuses returns the code with which a request is to be answered, OK for none.
func (c *Client) refuses(h wire.RequestHeader, body []byte) wire.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.refusals {
		if match, _ := path.Match(r.Path, wire.FirstPath(h.Op, body)); !match || r.Op != h.Op.String() {
			continue
		}
		if r.seen++; r.seen > r.Skip && r.seen <= r.last() {
			return r.Code
		}
	}
	return wire.OK
}

// refusing is a connection on which refusals are at work. A harmless request takes
// the place of one that is refused, so that the answers keep their order.
type refusing struct {
	net.Conn
	c       *Client
	greeted bool
	in, out []byte // what was read and is no whole frame yet; what is to be read

	mu    sync.Mutex
	codes map[int32]wire.Code // of the requests refused
}

func (r *refusing) Write(p []byte) (int, error) {
	if !r.greeted { // the handshake has another form
		r.greeted = true
		return r.Conn.Write(p)
	}
	var frames []byte
	for rest := p; len(rest) > 0; { // the session writes whole frames
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
