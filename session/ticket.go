package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A ticket accompanies a request from the call to the connection. In between the client library has
// a queue, from which nothing can be taken back. So the request's path contains the number of the
// ticket while the request is in the queue. The connection removes the number, and drops a request
// whose caller has gone.
//
// A request passes when the connection accepts it for writing. From then on it precedes every later
// request of the session. Later requests are written after it, or on a later connection. In the
// second case, the leader refuses the requests that are still in progress on the earlier
// connection.
type ticket struct {
	id     uint64
	passed bool          // guarded by tickets.mu
	trace  *engine.Trace // nil unless the caller needs more than the answer
}

// tickets has the tickets of one session.
type tickets struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]*ticket // issued tickets that have neither passed nor been voided
}

func newTickets() *tickets { return &tickets{open: make(map[uint64]*ticket)} }

func (b *tickets) issue() *ticket {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	t := &ticket{id: b.last}
	b.open[t.id] = t
	return t
}

// pass returns the ticket of a request that is about to be written, or nil if the request must not
// be written.
func (b *tickets) pass(id uint64) *ticket {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.open[id]
	delete(b.open, id)
	if t == nil || t.trace != nil && t.trace.Abandoned() {
		return nil
	}
	t.passed = true
	return t
}

// void ends a ticket. It reports whether its request has not been written and never will be.
func (b *tickets) void(t *ticket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, t.id)
	return !t.passed
}

// markSize is the number of bytes of a ticket's number in a path.
const markSize = 16

// mark inserts the ticket's number after the first slash of a path. The client accepts the result
// if it accepts the path.
func (t *ticket) mark(path string) string {
	return path[:1] + fmt.Sprintf("%0*x", markSize, t.id) + path[1:]
}

// markMulti marks the first path of a multi.
func (t *ticket) markMulti(requests []any) {
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

// unmark removes the ticket's number from a whole frame, in place. For a request without a path,
// which is a ping or the end of the session, it returns 0.
func unmark(frame []byte) (out []byte, id uint64, err error) {
	h, body, err := wire.CutRequest(frame[4:])
	if err != nil {
		return nil, 0, err
	}
	path := wire.FirstPath(h.Op, body)
	if path == "" {
		return frame, 0, nil
	}
	if len(path) <= markSize {
		return nil, 0, errUnmarked
	}
	if id, err = strconv.ParseUint(path[1:1+markSize], 16, 64); err != nil {
		return nil, 0, errUnmarked
	}
	at := len(frame) - len(body) // position of the path's length
	if h.Op == wire.OpMulti {
		at += multiHeaderSize
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4-markSize))
	binary.BigEndian.PutUint32(frame[at:], uint32(len(path)-markSize))
	cut := at + 4 + 1 // after the length and the slash
	return append(frame[:cut], frame[cut+markSize:]...), id, nil
}

// multiHeaderSize is the number of bytes before each part of a multi.
const multiHeaderSize = 4 + 1 + 4
