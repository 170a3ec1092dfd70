package quorum

import (
	"path"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Fate is what happens to a request that a rule picks.
type Fate int

// The fates.
const (
	DropRequest        Fate = iota // the server never sees it; the connection stays
	CloseBeforeRequest             // the connection is closed instead of processing it
	DropReply                      // it is processed; its reply is lost, the connection stays
	CloseBeforeReply               // it is processed; the connection is closed instead of the reply
	DelayRequest                   // it, and all behind it on the connection, are processed later
	DelayReply                     // its reply, and all behind it on the connection, are sent later
	ThrottleRequest                // it keeps its session alive, and is refused with THROTTLEDOP
)

// A Rule picks requests by what they are and how often they have come.
type Rule struct {
	Op      wire.Op // ignored where Any is set
	Any     bool    // any operation but pings
	Pattern string  // of the first path of the request, as for path.Match; "" is any
	Server  int     // index; -1 is any
	Session int64   // 0 is any
	Skip    int     // how many that match are let through first
	Count   int     // how many are picked then; 0 is all
	Fate    Fate
	Delay   time.Duration

	Seen, Fired int
}

// AddRule puts a rule behind those that there are; the first that picks a
// request decides.
func (c *Cluster) AddRule(r *Rule) { c.rules = append(c.rules, r) }

// RemoveRule takes a rule away. Requests that it has picked keep their fate.
func (c *Cluster) RemoveRule(r *Rule) {
	for i, x := range c.rules {
		if x == r {
			c.rules = append(c.rules[:i:i], c.rules[i+1:]...)
			return
		}
	}
}

// match returns the rule that picks a frame, or holds it back for a while.
func (c *Cluster) match(conn *Conn, frame []byte) (r *Rule, hold bool) {
	if conn.inHold != 0 && conn.inHold <= conn.s.now() {
		conn.inHold = 0 // this frame has been held long enough
		return nil, false
	}
	if len(c.rules) == 0 || conn.state != open {
		return nil, false
	}
	h, body, err := wire.CutRequest(frame)
	if err != nil {
		return nil, false
	}
	for _, r := range c.rules {
		if r.Any && h.Xid < 0 || !r.matches(conn, h.Op, body) { // a negative xid: the client's own housekeeping
			continue
		}
		if r.Seen++; r.Seen <= r.Skip || r.Count > 0 && r.Fired >= r.Count {
			continue
		}
		r.Fired++
		c.cfg.Trace("rule picks %v %s of connection %d", h.Op, wire.FirstPath(h.Op, body), conn.id)
		if r.Fate == DelayRequest {
			conn.inHold = conn.s.now() + r.Delay
			return nil, true
		}
		return r, false
	}
	return nil, false
}

func (r *Rule) matches(conn *Conn, op wire.Op, body []byte) bool {
	if r.Any && op == wire.OpPing || !r.Any && op != r.Op {
		return false
	}
	if r.Server >= 0 && r.Server != conn.s.id || r.Session != 0 && r.Session != conn.session {
		return false
	}
	if r.Pattern == "" {
		return true
	}
	ok, err := path.Match(r.Pattern, wire.FirstPath(op, body))
	return ok && err == nil
}
