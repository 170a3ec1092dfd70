package bench

import (
	"context"
	"maps"
	"net"
	"sync"

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A meter counts the requests of clients by operation, with a proxy in front of each server. It
// ignores the requests of the client library itself: handshakes, pings, credentials and the close
// of the session.
type meter struct {
	ways []*client.Way

	mu     sync.Mutex
	counts map[string]int
}

func newMeter(servers []string) (*meter, error) {
	c := &meter{counts: make(map[string]int)}
	for _, server := range servers {
		w, err := client.NewWay(server, c.dial)
		if err != nil {
			c.close()
			return nil, err
		}
		c.ways = append(c.ways, w)
	}
	return c, nil
}

func (c *meter) servers() []string {
	var all []string
	for _, w := range c.ways {
		all = append(all, w.Address())
	}
	return all
}

func (c *meter) close() {
	for _, w := range c.ways {
		w.Close()
	}
}

// The method `reset` returns the counts and sets them to zero.
func (c *meter) reset() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := maps.Clone(c.counts)
	clear(c.counts)
	return counts
}

func (c *meter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, meter: c, frames: wire.Frames{Keep: 8, Max: 64 << 20}}, nil
}

type countedConn struct {
	net.Conn
	meter   *meter
	frames  wire.Frames
	greeted bool
}

func (c *countedConn) Write(p []byte) (int, error) {
	if err := c.frames.Feed(p, c.count); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *countedConn) count(f wire.Frame) error {
	if !c.greeted { // the first frame of a connection has no header
		c.greeted = true
		return nil
	}
	h, _, err := wire.CutRequest(f.Head)
	if err != nil {
		return err
	}
	switch h.Op {
	case wire.OpPing, wire.OpAuth, wire.OpCloseSession:
		return nil
	}
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.meter.counts[h.Op.String()]++
	return nil
}
