package quorum

import (
	"path"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Fate is the fault for a request that a rule selects.
type Fate int

// The fates.
const (
	DropRequest        Fate = iota // the server never receives the request; the connection stays
	CloseBeforeRequest             // the connection is closed and the request is not processed
	DropReply                      // processed, but the reply is lost; the connection stays
	CloseBeforeReply               // processed, but the connection is closed instead of a reply
	// The request, and all requests after it on the connection, are processed
	// later.
	DelayRequest
	// The reply, and all replies after it on the connection, are sent later.
	DelayReply
	ThrottleRequest // the request keeps its session alive, and is refused with THROTTLEDOP
)

var fateNames = [...]string{"DropRequest", "CloseBeforeRequest", "DropReply", "CloseBeforeReply", "DelayRequest", "DelayReply", "ThrottleRequest"}

// String returns the name of the constant.
func (f Fate) String() string {
	if f < 0 || int(f) >= len(fateNames) {
		return "Fate(" + strconv.Itoa(int(f)) + ")"
	}
	return fateNames[f]
}

// A Rule selects requests by their operation, path, server and session. Of the requests that match,
// it skips the first Skip, and selects the next Count.
type Rule struct {
	Op      wire.Op // ignored if Any is set
	Any     bool    // any operation except pings and requests with a negative xid
	Pattern string  // pattern for the first path of the request, as in path.Match; "" is any
	Server  int     // index; -1 is any
	Session int64   // 0 is any
	Skip    int     // number of matching requests to let through first
	Count   int     // number of requests to select after them; 0 is all
	Fate    Fate
	Delay   time.Duration

	Seen, Fired int
}

// AddRule adds a rule after the existing ones. The first rule that selects a
// request decides its fate.
func (c *Cluster) AddRule(r *Rule) { c.rules = append(c.rules, r) }

// RemoveRule removes a rule. Requests that the rule has already selected keep their fate.
func (c *Cluster) RemoveRule(r *Rule) {
	for i, x := range c.rules {
		if x == r {
			c.rules = append(c.rules[:i:i], c.rules[i+1:]...)
			return
		}
	}
}

// The method `match` returns the rule that selects a frame. If `hold` is true, the frame must wait.
func (c *Cluster) match(conn *Conn, frame []byte) (r *Rule, hold bool) {
	if conn.inHold != 0 && conn.inHold <= conn.s.now() {
		conn.inHold = 0 // this frame has waited long enough
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
		// A client uses negative xids for its internal requests.
		if r.Any && h.Xid < 0 || !r.matches(conn, h.Op, body) {
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
