package netfault

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// Op is an operation of ZooKeeper's protocol.
type Op = wire.Op

// The operations for which traps are set most often. Traps are meant for the requests of programs.
// The client library sends some requests by itself, for example when it sets its watches on a new
// connection. These requests have negative numbers (xids), and no trap catches them, not even a
// trap for OpAny. There is one exception: after Widen, a trap can catch a ping.
const (
	OpAny          Op = 0 // every operation except a ping
	OpCreate          = wire.OpCreate
	OpDelete          = wire.OpDelete
	OpExists          = wire.OpExists
	OpGetData         = wire.OpGetData
	OpSetData         = wire.OpSetData
	OpGetChildren     = wire.OpGetChildren2
	OpSync            = wire.OpSync
	OpMulti           = wire.OpMulti
	OpCloseSession    = wire.OpCloseSession
)

// A When is a moment at which a trap can spring.
type When int

// The moments.
const (
	BeforeSending When = iota // before the request is sent to the server
	BeforeReply               // after the server has replied, before the client gets the reply
)

// Action is the action of a trap that springs.
type Action int

// The actions.
const (
	Reset Action = iota // breaks the connection, so that the request or the reply is lost
	Stall               // stalls one direction: Up for BeforeSending, Down for BeforeReply
)

// Request describes the request for which a trap waits.
type Request struct {
	Op   Op     // OpAny if zero
	Path string // only requests whose first path begins with Path count; all if it is empty
	N    int    // the trap springs at the N-th request that counts; zero is 1
	When When
}

// Trap waits for one request on any connection of a proxy, and springs once.
type Trap struct {
	Request
	then    Action
	once    sync.Once
	left    int // number of requests until it springs; the proxy's mu guards this, the following fields, and the Request of a wide trap
	wide    bool
	caught  bool // it has caught its request, and may still wait for the reply
	removed bool
	springs bool
	sprung  chan struct{}
}

// Set sets a trap. The trap catches a ping only after Widen. It never catches any other request
// with a negative xid, and it never catches the handshake of a connection.
func (l *Proxy) Set(r Request, then Action) *Trap {
	t := &Trap{Request: r, then: then, left: max(r.N, 1), sprung: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.traps = append(l.traps, t)
	return t
}

// Remove removes a trap, even one that has caught its request and waits for the reply. It returns
// true if the trap has not sprung and never will. If it returns false, the trap has sprung, and the
// channel of Sprung is closed or is about to be closed.
func (l *Proxy) Remove(t *Trap) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(t)
	t.removed = true
	return !t.springs
}

// Widen makes a trap that has not sprung catch the next request, whatever the operation and the
// path of that request are, even a ping. The Request of the trap then describes the caught request.
// A trap that already waits for a reply is widened too, because that reply never arrives if the
// connection has broken.
func (l *Proxy) Widen(t *Trap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.removed || t.springs {
		return
	}
	l.removeLocked(t)
	t.wide, t.caught, t.left = true, false, 1
	l.traps = append(l.traps, t)
}

// The method `springs` is called at the moment at which a trap would spring. It reports whether the
// trap springs, and removes the trap from the proxy.
func (l *Proxy) springs(t *Trap) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.removed || t.springs {
		return false
	}
	l.removeLocked(t)
	t.springs = true
	l.stats.Sprung++
	return true
}

func (l *Proxy) removeLocked(t *Trap) {
	for i, other := range l.traps {
		if other == t {
			l.traps = append(l.traps[:i:i], l.traps[i+1:]...)
			return
		}
	}
}

// Sprung returns a channel that is closed when the trap has sprung and its action is complete.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

func (t *Trap) done() { t.once.Do(func() { close(t.sprung) }) }

// String describes the trap as a part of a sentence.
func (t *Trap) String() string {
	what, when := fmt.Sprint("request ", max(t.N, 1)), "before it is sent"
	if t.Op != OpAny {
		what = t.Op.String() + " " + what
	}
	if t.Path != "" {
		what += " of " + t.Path
	}
	if t.When == BeforeReply {
		when = "before its reply"
	}
	return what + ", " + when
}

// The method `matches` reports whether the request counts for the trap.
func (r Request) matches(op Op, path string) bool {
	if op == wire.OpPing || r.Op != OpAny && r.Op != op {
		return false
	}
	return len(path) >= len(r.Path) && path[:len(r.Path)] == r.Path
}

// The method `caught` counts a request for all traps and returns the trap that catches the request,
// or nil. If two traps wait for this request, the method returns the older trap. The newer trap
// then waits for the next request that counts.
func (l *Proxy) caught(op Op, path string) *Trap {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first *Trap
	for _, t := range l.traps {
		if t.caught || !t.wide && !t.matches(op, path) {
			continue
		}
		if t.left--; t.left <= 0 && first == nil {
			first = t
		}
	}
	if first == nil {
		return nil
	}
	first.caught = true
	if first.wide {
		first.Request = Request{Op: op, Path: path, When: first.When}
	}
	return first
}

// trapRequest counts a request for all traps. If a trap with BeforeSending catches the request,
// trapRequest returns that trap. If a trap with BeforeReply catches the request, trapRequest stores
// that trap, so that trapReply finds it later, and returns nil. If no trap catches the request,
// trapRequest returns nil too.
func (c *conn) trapRequest(head []byte) *Trap {
	h, body, err := wire.CutRequest(head)
	if err != nil {
		return nil
	}
	if h.Xid < 0 && h.Op != wire.OpPing { // a request that the client library sends by itself
		return nil
	}
	t := c.proxy.caught(h.Op, wire.FirstPath(h.Op, body))
	if t != nil && t.When == BeforeReply {
		c.mu.Lock()
		c.awaiting[h.Xid] = t
		c.mu.Unlock()
		return nil
	}
	return t
}

// trapReply returns the trap that has caught the request that this reply answers, or nil. That trap
// springs before the client gets the reply. `head` is the beginning of the reply.
func (c *conn) trapReply(head []byte) *Trap {
	if len(head) < 4 {
		return nil
	}
	xid := int32(binary.BigEndian.Uint32(head))
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.awaiting[xid]
	delete(c.awaiting, xid)
	return t
}

// A piece is a sequence of bytes. Its trap springs before these bytes pass.
type piece struct {
	data []byte
	trap *Trap
}

// The method `scanner` returns a function that cuts the chunks of one direction into pieces. A
// piece may have a trap, which springs before the bytes of the piece pass. So a piece with a trap
// begins at the frame at which the trap springs. If that frame began in an earlier chunk, the piece
// begins with the rest of the frame: without the rest, the part that has already passed has no
// effect. The first frame of a direction is the handshake, which no trap catches. If the data turn
// out not to be frames, all further data are passed on unchanged.
func (c *conn) scanner(frames *wire.Frames, trap func(head []byte) *Trap) func(chunk []byte) []piece {
	var seen, end int64 // bytes of all chunks so far; position at which the last whole frame ended
	handshake, framed := true, true
	return func(chunk []byte) []piece {
		if len(chunk) == 0 {
			return nil
		}
		pieces := []piece{{}}
		cut := 0
		if framed {
			err := frames.Feed(chunk, func(f wire.Frame) error {
				begin := int(max(end-seen, 0))
				end += int64(4 + f.Size)
				if handshake {
					handshake = false
					return nil
				}
				if t := trap(f.Head); t != nil {
					pieces[len(pieces)-1].data = chunk[cut:begin]
					pieces = append(pieces, piece{trap: t})
					cut = begin
				}
				return nil
			})
			framed = err == nil
		}
		seen += int64(len(chunk))
		pieces[len(pieces)-1].data = chunk[cut:]
		return pieces
	}
}
