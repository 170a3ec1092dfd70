package quorum

import (
	"slices"
	"time"
)

// The method `look` ends the server's role: it closes the connections to its leader or followers
// and to all clients, and starts to look for a leader (ZooKeeper's state LOOKING).
func (s *server) look(why string) {
	s.c.cfg.Trace("server %d leaves its role and elects: %s", s.id, why)
	s.leaveRole()
	s.electAt = s.now() + s.c.cfg.ElectionTime
}

func (s *server) leaveRole() {
	if s.up != nil {
		s.up.hangUp(s)
	}
	if s.term != nil {
		for _, p := range s.term.peers {
			if p != nil {
				p.hangUp(s)
			}
		}
	}
	s.up, s.term, s.joining = nil, nil, nil
	for _, conn := range s.ordered() {
		conn.shut()
	}
	s.reset()
}

// The method `reaches` reports whether two servers can exchange packets in both directions now.
func (c *Cluster) reaches(a, b *server) bool {
	return a == b || !a.down && !b.down && !a.paused && !b.paused &&
		!c.links[a.id][b.id].cut && !c.links[b.id][a.id].cut
}

// The method `elect` lets each server in state LOOKING join the current leader. If a majority of
// the servers is still in state LOOKING after that, these servers elect one of themselves. The
// servers that remain in state LOOKING try again later.
func (c *Cluster) elect() {
	for _, s := range c.servers {
		if s.looking() && !s.paused {
			if l := c.leaderFor(s); l != nil && s.met(l, c.roundTrip(l, s)) {
				c.join(l, s)
			}
		}
	}
	if winner, voters := c.choose(); winner != nil {
		var farthest time.Duration
		for _, v := range voters {
			farthest = max(farthest, c.roundTrip(winner, v))
		}
		if winner.met(winner, farthest) {
			c.lead(winner, voters)
		}
	}
	for _, s := range c.servers {
		if s.looking() {
			s.tryAgain()
		}
	}
}

// roundTrip returns the time that a packet from a to b and its reply take.
func (c *Cluster) roundTrip(a, b *server) time.Duration {
	return c.links[a.id][b.id].delay + c.links[b.id][a.id].delay
}

// Before a server can join a leader, a round trip of messages between the two is needed. The first
// call of `met` in an attempt to join begins this round trip. The method `met` reports whether the
// round trip is over.
//
// The winner of an election also waits before it leads: the caller calls winner.met(winner, d),
// where d is the longest of the round trips between the winner and its voters.
func (s *server) met(leader *server, roundTrip time.Duration) bool {
	if roundTrip > 0 && s.joining != leader {
		s.joining, s.joinAt = leader, s.c.now+roundTrip
	}
	return roundTrip <= 0 || s.joinAt <= s.c.now
}

// tryAgain sets the next time at which a server in state LOOKING takes part in
// an election.
func (s *server) tryAgain() {
	s.electAt = s.now() + max(s.c.cfg.ElectionTime, 1)
	switch {
	case s.joining == nil:
	case s.joinAt <= s.c.now: // the attempt has failed
		s.joining = nil
	default:
		s.electAt = min(s.electAt, max(s.clock.at(s.joinAt), s.now()+1))
	}
}

// leaderFor returns the leader that a server can join. The server must reach
// the leader, and a majority that it reaches must support the leader.
func (c *Cluster) leaderFor(s *server) *server {
	for _, l := range c.servers {
		if l.term == nil || !c.reaches(l, s) {
			continue
		}
		votes := 0
		for _, v := range c.servers {
			if c.reaches(v, s) && (v == l || v.up != nil && v.up.leader == l) {
				votes++
			}
		}
		if votes >= c.majority() {
			return l
		}
	}
	return nil
}

// The function `ahead` reports whether an election prefers a's log to b's. It ignores the servers'
// ids.
func ahead(a, b *server) bool {
	if a.epoch != b.epoch {
		return a.epoch > b.epoch
	}
	return a.tail() > b.tail()
}

// The method `choose` returns the winner of an election among the servers in state LOOKING, and its
// voters. The voters are a majority that the winner reaches, and none of them has a newer log than
// the winner. The preferred server wins if it can.
func (c *Cluster) choose() (winner *server, voters []*server) {
	order := slices.Clone(c.servers)
	slices.SortStableFunc(order, func(a, b *server) int {
		switch {
		case a.id == c.prefer:
			return -1
		case b.id == c.prefer:
			return 1
		case ahead(a, b):
			return -1
		case ahead(b, a):
			return 1
		}
		return b.id - a.id
	})
	for _, w := range order {
		if !w.looking() || w.paused {
			continue
		}
		voters = nil
		for _, v := range c.servers {
			if v.looking() && c.reaches(w, v) && !ahead(v, w) {
				voters = append(voters, v)
			}
		}
		if len(voters) >= c.majority() {
			return w, voters
		}
	}
	return nil, nil
}

// The method `lead` makes the server w the leader of its voters, in a new epoch, and commits
// everything in the log of w.
func (c *Cluster) lead(w *server, voters []*server) {
	epoch := int64(0)
	for _, v := range voters {
		epoch = max(epoch, v.epoch)
	}
	c.prefer = -1
	w.joining = nil
	w.epoch = epoch + 1
	w.catchUp(w.tail())
	w.term = newTerm(w, w.epoch)
	c.cfg.Trace("server %d leads epoch %d from zxid %x", w.id, w.epoch, w.term.zxid)
	for _, v := range voters {
		if v != w {
			c.join(w, v)
		}
	}
	w.nextIdle = w.now() + idleEvery
}

// The method `join` makes the server f a follower of the leader l. It removes the entries of f's
// log that are not in the leader's log, adds the missing entries, and applies the committed ones.
func (c *Cluster) join(l, f *server) {
	t := l.term
	f.cutTo(l)
	f.epoch = l.epoch
	f.catchUp(l.committed)
	p := &peer{leader: l, follower: f, term: t, acked: f.tail(), heard: l.now()}
	p.deadline = t.tick + int64(c.cfg.SyncLimit)
	// Packets of an older connection between the two are discarded.
	c.links[l.id][f.id].reset()
	c.links[f.id][l.id].reset()
	f.joining = nil
	t.peers[f.id], f.up, f.heard = p, p, f.now()
	f.nextIdle = f.now() + idleEvery
	c.cfg.Trace("server %d follows server %d from zxid %x", f.id, l.id, f.tail())
	t.advance()
}

// cutTo makes the log of f equal to that of l.
func (f *server) cutTo(l *server) {
	at := len(f.log) // after the loop, all entries before this index are in l's log
	for ; at > 0; at-- {
		// The loop ends at an entry that f has applied or that is in l's log. An applied
		// transaction is in the log of every later leader.
		zxid := f.log[at-1].Zxid
		if i := l.after(zxid - 1); zxid <= f.tree.Zxid || i < len(l.log) && l.log[i].Zxid == zxid {
			break
		}
	}
	f.log = f.log[:at]
	last := f.tail()
	if last < l.trimmed {
		f.snapshot(l)
		return
	}
	f.log = append(slices.Clone(f.log), l.log[l.after(last):]...)
}

// The method `snapshot` gives f a copy of l's tree, and a copy of the log entries that l has not
// applied yet.
func (f *server) snapshot(l *server) {
	f.tree = l.tree.Clone()
	f.trimmed = l.tree.Zxid
	f.log = slices.Clone(l.log[l.after(l.tree.Zxid):])
	f.committed = l.tree.Zxid
}

// catchUp applies all transactions up to zxid at once, even if the server has a lag. The server has
// no clients now, so no client can notice the difference.
func (s *server) catchUp(zxid int64) {
	for i := s.after(s.tree.Zxid); i < len(s.log) && s.log[i].Zxid <= zxid; i++ {
		s.tree.Apply(s.log[i])
	}
	s.committed = max(s.committed, zxid)
}
