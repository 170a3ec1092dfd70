package session

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A ticket makes it possible to abandon a request that is in the client library's queue, although
// the request cannot be removed from that queue. In the queue, the request's path contains the
// number of its ticket. The connection removes the number, and drops the request if its caller has
// gone. The ticket 0 means no ticket.
//
// A ticket passes when the connection accepts the ticket's request for writing. After that, this
// request takes effect before every later request of the session, or not at all. This is so in both
// possible cases. A later request on the same connection is written after this request. If a later
// request is written on a later connection, the leader refuses the requests that are still in
// progress on the earlier connection.
type ticket uint64

// The type `tickets` has the tickets of one session.
type tickets struct {
	mu   sync.Mutex
	last ticket
	// open has each issued ticket until its request is about to be written (see `pass`) or the
	// ticket is ended (see `void`). The value is the trace of the call.
	open map[ticket]*engine.Trace
}

func newTickets() *tickets { return &tickets{open: make(map[ticket]*engine.Trace)} }

// The method `issue` issues the ticket of a request. The trace is nil unless the caller needs more
// than the answer: see engine.Trace.
func (b *tickets) issue(trace *engine.Trace) ticket {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.open[b.last] = trace
	return b.last
}

// The method `pass` is called when the request of a ticket is about to be written. It returns the
// trace of the call, or false if the request must not be written.
func (b *tickets) pass(t ticket) (trace *engine.Trace, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	trace, open := b.open[t]
	if !open || trace != nil && trace.Abandoned() {
		return nil, false
	}
	delete(b.open, t)
	return trace, true
}

// The method `void` ends a ticket. It returns true if the ticket's request has not been written and
// never will be.
func (b *tickets) void(t ticket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, open := b.open[t]
	delete(b.open, t)
	return open
}

// markSize is the number of hexadecimal digits that a ticket's number takes in a path.
const markSize = 16

// The method `mark` inserts the ticket's number after the first slash of a path. The client accepts
// the result if it accepts the path.
func (t ticket) mark(path string) string {
	var number [markSize / 2]byte
	var digits [markSize]byte
	binary.BigEndian.PutUint64(number[:], uint64(t))
	hex.Encode(digits[:], number[:])
	return path[:1] + string(digits[:]) + path[1:]
}

// markMulti inserts the ticket's number into the first path of a multi.
func (t ticket) markMulti(requests []any) {
	switch r := requests[0].(type) {
	case *zk.CreateRequest:
		r.Path = t.mark(r.Path)
	case *zk.SetDataRequest:
		r.Path = t.mark(r.Path)
	case *zk.DeleteRequest:
		r.Path = t.mark(r.Path)
	case *zk.CheckVersionRequest:
		r.Path = t.mark(r.Path)
	}
}

var errUnmarked = errors.New("session: the client sent a request without a ticket")

// unmark removes the ticket's number from the path in a whole frame, in place, and returns the
// ticket. A ping and a request to close the session have no path, so they have no number, and
// unmark returns the ticket 0.
func unmark(frame []byte) (out []byte, t ticket, err error) {
	h, body, err := wire.CutRequest(frame[4:])
	if err != nil {
		return nil, 0, err
	}
	path := wire.CutPath(h.Op, body)
	if len(path) == 0 {
		return frame, 0, nil
	}
	if len(path) <= markSize {
		return nil, 0, errUnmarked
	}
	var number [markSize / 2]byte
	if _, err := hex.Decode(number[:], path[1:1+markSize]); err != nil {
		return nil, 0, errUnmarked
	}
	t = ticket(binary.BigEndian.Uint64(number[:]))
	at := len(frame) - len(body) // position of the path's length
	if h.Op == wire.OpMulti {
		at += multiHeaderSize
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4-markSize))
	binary.BigEndian.PutUint32(frame[at:], uint32(len(path)-markSize))
	cut := at + 4 + 1 // after the length and the slash
	return append(frame[:cut], frame[cut+markSize:]...), t, nil
}

// multiHeaderSize is the number of bytes before each part of a multi.
const multiHeaderSize = 4 + 1 + 4
