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

// A ticket goes with a request from the call to the connection. The client library
// has a queue in between, from which nothing can be taken back. So the number of the
// ticket stands in the request's path while it is in the queue. The connection cuts
// it out, and drops a request whose caller has gone.
//
// A request passes when the connection accepts it to be written. From then on it is
// ahead of every later request of the session: they are written behind it, or on a
// later connection, and then the leader refuses what is still under way on the
// earlier one.
type ticket struct {
	id     uint64
	passed bool          // guarded by tickets.mu
	trace  *engine.Trace // nil unless somebody wants to know more than the answer
}

// tickets are those of one session.
type tickets struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]*ticket // issued, and neither passed nor void
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

// pass returns the ticket of a request that is about to be written. It returns nil if
// the request must not be written.
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

// void ends a ticket, and reports whether its request was not written and never will be.
func (b *tickets) void(t *ticket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, t.id)
	return !t.passed
}

// markSize is the size in bytes of a ticket's number in a path.
const markSize = 16

// mark puts the ticket's number behind the first slash of a path. The client accepts
// the result if it accepts the path.
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

// unmark cuts the ticket's number out of a whole frame, in place. It returns 0 for a
// request without a path: a ping, and the end of the session.
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
	at := len(frame) - len(body) // of the path's length
	if h.Op == wire.OpMulti {
		at += multiHeaderSize
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4-markSize))
	binary.BigEndian.PutUint32(frame[at:], uint32(len(path)-markSize))
	cut := at + 4 + 1 // behind the length and the slash
	return append(frame[:cut], frame[cut+markSize:]...), id, nil
}

// multiHeaderSize is the size in bytes of what stands before each part of a multi.
const multiHeaderSize = 4 + 1 + 4
