package quorum

import (
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// Kill stops a server at once. Its log stays.
func (c *Cluster) Kill(i int) {
	s := c.servers[i]
	if s.down {
		return
	}
	c.cfg.Trace("server %d is killed", i)
	s.paused = false
	s.leaveRole()
	s.down = true
	for j := range c.servers {
		c.links[j][i].reset()
	}
	c.Run()
}

// Wipe deletes the stored state of a server that is down. Start then starts it as a new server.
func (c *Cluster) Wipe(i int) {
	s := c.servers[i]
	if !s.down {
		return
	}
	c.cfg.Trace("server %d is wiped", i)
	s.tree, s.log, s.trimmed, s.epoch, s.committed = tree.New(c.config, c.cfg.Rules, c.cfg.Order), nil, 0, 0, 0
}

// SetSequence makes n the number of the next sequential child of path. SetSequence is a write like
// any other, so servers that are behind apply it in order.
func (c *Cluster) SetSequence(path string, n int32) (found bool) {
	l := c.Leader()
	if l < 0 {
		return false
	}
	s := c.servers[l]
	if _, code := s.tree.Exists(path, tree.Reader{}); code == wire.NoNode {
		return false
	}
	c.cfg.Trace("the next child of %s is number %d", path, n)
	body := wire.Append(nil, &wire.PathVersion{Path: path, Version: n})
	s.term.submit(&request{op: tree.OpSetSequence, body: body}, self)
	c.Run()
	return true
}

// Start starts a server that was killed.
func (c *Cluster) Start(i int) {
	s := c.servers[i]
	if !s.down {
		return
	}
	c.cfg.Trace("server %d starts", i)
	s.down, s.traceMask = false, traceMask
	s.electAt = s.now() + c.cfg.ElectionTime
	c.Run()
}

// Pause stops a server from doing anything. No other process is notified:
// connections stay open, and messages to the server wait.
func (c *Cluster) Pause(i int) {
	c.cfg.Trace("server %d pauses", i)
	c.servers[i].paused = true
}

// Resume lets a paused server continue. The seed decides whether it first
// processes the messages that wait, or the timers that are due.
func (c *Cluster) Resume(i int) {
	s := c.servers[i]
	if !s.paused {
		return
	}
	c.cfg.Trace("server %d resumes", i)
	s.paused = false
	for _, conn := range s.ordered() {
		conn.wake()
	}
	if c.cfg.Rand.IntN(2) == 0 {
		c.Advance(c.now)
	}
	c.Run()
}

// Cut stops packets from one server to another.
func (c *Cluster) Cut(from, to int) {
	c.cfg.Trace("link %d>%d is cut", from, to)
	l := c.links[from][to]
	if !l.cut && len(l.queue) > 0 {
		c.heldBack += len(l.queue)
		l.stall(c.now)
	}
	l.cut = true
}

// HeldBack returns the number of packets that have waited for a cut link so
// far.
func (c *Cluster) HeldBack() int { return c.heldBack }

// Mend lets packets from one server to another pass again. Waiting packets
// arrive with the sender's next retransmission.
func (c *Cluster) Mend(from, to int) {
	c.cfg.Trace("link %d>%d is restored", from, to)
	c.links[from][to].mend(c.now, c.cfg.Retransmit)
	c.Run()
}

// MendAll restores all links.
func (c *Cluster) MendAll() {
	c.cfg.Trace("all links are restored")
	for _, row := range c.links {
		for _, l := range row {
			l.mend(c.now, c.cfg.Retransmit)
		}
	}
	c.Run()
}

// Delay sets the time that packets from one server to another take from now on.
func (c *Cluster) Delay(from, to int, d time.Duration) { c.links[from][to].delay = d }

// Lag sets the time that a server waits before it applies a committed
// transaction.
func (c *Cluster) Lag(i int, d time.Duration) {
	s := c.servers[i]
	s.lag = d
	for j := range s.commits {
		s.commits[j].at = min(s.commits[j].at, s.now()+d)
	}
	s.applyDue()
	c.Run()
}

// Pace sets the time that a server, as a leader, takes to close each expired
// session.
func (c *Cluster) Pace(i int, d time.Duration) {
	s := c.servers[i]
	s.pace = d
	if s.term != nil {
		s.term.endAt = min(s.term.endAt, s.now()+d)
	}
	c.Run()
}

// DelayPings makes a server, as a leader, wait for half a tick plus d between two rounds of pings.
func (c *Cluster) DelayPings(i int, d time.Duration) {
	s := c.servers[i]
	if s.term != nil {
		s.term.nextPing = max(s.now(), s.term.nextPing+d-s.late)
	}
	s.late = d
	c.Run()
}

// Expire makes the leader close a session as if its time was over.
func (c *Cluster) Expire(session int64) error {
	l := c.Leader()
	if l < 0 {
		return ErrNoLeader
	}
	c.cfg.Trace("session %x is expired", session)
	c.servers[l].term.close(session)
	c.Run()
	return nil
}

// Elect makes each leader that is not paused step down, and makes server i the preferred winner of
// the next election. Server i wins only if its log allows this.
func (c *Cluster) Elect(i int) {
	c.prefer = i
	for _, s := range c.servers {
		if s.term != nil && !s.paused {
			s.look("a fault makes it step down")
		}
	}
	c.Run()
}

// Leader returns the server that leads a quorum, or -1. A deposed leader does not count, even if it
// has not noticed yet that it was deposed.
func (c *Cluster) Leader() int {
	best := -1
	for i, s := range c.servers {
		if s.term == nil || s.down {
			continue
		}
		following := 1
		for _, p := range s.term.peers {
			if p != nil && p.follower.up == p {
				following++
			}
		}
		if following >= c.majority() && (best < 0 || s.epoch > c.servers[best].epoch) {
			best = i
		}
	}
	return best
}

// Ready reports whether every server that is up serves in the leader's quorum.
func (c *Cluster) Ready() bool {
	l := c.Leader()
	if l < 0 {
		return false
	}
	for i, s := range c.servers {
		// It is not enough that s.up is set. If the leader gives up a follower, the field `up` of
		// the follower stays set until the follower notices this.
		follows := s.up != nil && s.up == c.servers[l].term.peers[i]
		if !s.down && (s.paused || i != l && !follows) {
			return false
		}
	}
	return true
}
