package conform

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// The list `leased` has the guarantees that depend on the lease.
var leased = []string{"S2", "L1", "E3", "Q7"}

const (
	shortest = time.Millisecond
	longest  = math.MaxInt32 * time.Millisecond
)

// ofSessions returns the preconditions of the lease, and the requirements for sessions that end.
func ofSessions() []requirement {
	return []requirement{
		{"one-limit", "all servers have the same limits of session timeouts", leased, oneLimit},
		{"password", "a session has a password, with which it can be resumed", leased, password},
		{"resumed", "a session can be resumed at each server, with its id and its ephemeral znodes", slices.Concat(leased, []string{"W6"}), resumed},
		{"wrong-password", "no client can resume the session without its password", leased, wrongPassword},
		{"moved", "after a session has moved to another connection, the old one executes no more requests", []string{"S1", "S2"}, moved},
		{"ended", "a closed session is never resumed, and its connection executes no more requests", []string{"S1"}, ended},
		{"ephemerals-end", "closing a session deletes its ephemeral znodes", []string{"L4", "E7", "D3", "C6"}, ephemeralsEnd},
		{"expiry", "a silent session lives for its timeout, and ends soon after", slices.Concat(leased, []string{"E7", "Q6", "Q11", "D3", "C6"}), expiry},
		{"kept", "pings, reads, syncs and writes at each server keep a session alive", leased, kept},
		{"heartbeat", "a transaction of checks alone is a quorum write", leased, heartbeat},
	}
}

func oneLimit(p *probe) error {
	var first [2]int32
	return p.each(func(server int) error {
		var limits [2]int32
		for i, timeout := range []time.Duration{shortest, longest} {
			c, err := p.open(server, timeout)
			if err != nil {
				return err
			}
			limits[i] = c.session.Timeout
			if err := c.close(); err != nil {
				return err
			}
		}
		if server == 0 {
			first = limits
		}
		p.saw("sessions of the shortest and the longest timeout at "+p.at(server), limitsText(limits), limitsText(first))
		return nil
	})
}

func limitsText(limits [2]int32) string { return fmt.Sprintf("%d and %d ms", limits[0], limits[1]) }

func password(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		given := "a password"
		if !slices.ContainsFunc(c.session.Password, func(b byte) bool { return b != 0 }) {
			given = "none"
		}
		p.saw("open a session at "+p.at(server), given, "a password")
		return c.close()
	})
}

func resumed(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("resumed", server))
		if h, _, err := c.create(node, wire.ModeEphemeral); err != nil || h.Err != wire.OK {
			return p.sawReply(err, "create an ephemeral znode", said(h.Err), said(wire.OK))
		}
		session := c.session.SessionID
		return p.each(func(next int) error {
			if c.closed {
				return nil
			}
			if err := c.drop(); err != nil {
				return err
			}
			d, err := p.resume(c, next)
			if err != nil {
				return err
			}
			p.saw(fmt.Sprintf("resume a session of %s at %s", p.at(c.server), p.at(next)), d.resumed(c), sameSession)
			if d.resumed(c) != sameSession {
				return d.close()
			}
			c = d
			if _, err := c.barrier(node); err != nil {
				return err
			}
			stat, h, err := c.exists(node, false)
			err = p.sawReply(err, "read its ephemeral znode there", owned(h, stat, session), owned(wire.ReplyHeader{}, wire.Stat{EphemeralOwner: session}, session))
			if err == nil && next == len(p.servers.Addresses)-1 {
				err = c.close()
			}
			return err
		})
	})
}

func owned(h wire.ReplyHeader, stat wire.Stat, session int64) string {
	switch {
	case h.Err != wire.OK:
		return said(h.Err)
	case stat.EphemeralOwner == session:
		return "it got the session"
	}
	return "it got another session"
}

func wrongPassword(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		stranger := *c
		stranger.session.Password = slices.Repeat([]byte{7}, 16)
		d, err := p.resume(&stranger, server)
		if err != nil {
			return err
		}
		p.sawThat(d.resumed(c) != sameSession, "resume a session with a wrong password at "+p.at(server), d.resumed(c), refused)
		return d.close()
	})
}

// resumeNext opens a session at a server, and resumes it on a second connection at the next server.
func (p *probe) resumeNext(server int) (first, second *client, next int, err error) {
	if first, err = p.open(server, time.Minute); err != nil {
		return nil, nil, 0, err
	}
	next = (server + 1) % len(p.servers.Addresses)
	if second, err = p.resume(first, next); err != nil {
		return nil, nil, 0, err
	}
	if got := second.resumed(first); got != sameSession {
		return nil, nil, 0, fmt.Errorf("%s gives %s", p.at(next), got)
	}
	return first, second, next, nil
}

func moved(p *probe) error {
	return p.each(func(server int) error {
		c, d, next, err := p.resumeNext(server)
		if err != nil {
			return fmt.Errorf("move a session to another server: %w", err)
		}
		node := p.path(fmt.Sprint("moved", server))
		h, _, err := c.create(node, wire.ModePersistent)
		if err != nil {
			return err
		}
		p.sawThat(h.Err != wire.OK, fmt.Sprintf("create a znode at %s after the session has moved to %s", p.at(server), p.at(next)),
			said(h.Err), hungUp+", or "+said(wire.SessionMoved))
		if _, err := d.barrier(node); err != nil {
			return err
		}
		_, h, err = d.exists(node, false)
		return p.sawReply(err, "read the znode that it would have created", said(h.Err), said(wire.NoNode))
	})
}

func ended(p *probe) error {
	return p.each(func(server int) error {
		c, d, next, err := p.resumeNext(server)
		if err != nil {
			return fmt.Errorf("resume a session to close it: %w", err)
		}
		if err := d.end(); err != nil {
			return err
		}
		node := p.path(fmt.Sprint("ended", server))
		h, _, err := c.create(node, wire.ModePersistent)
		if err != nil {
			return err
		}
		p.sawThat(h.Err != wire.OK, fmt.Sprintf("create a znode at %s after the session was closed at %s", p.at(server), p.at(next)),
			said(h.Err), hungUp)
		again, err := p.resume(c, server)
		if err != nil {
			return err
		}
		p.saw("resume the session at "+p.at(server), again.resumed(c), refused)
		return again.close()
	})
}

func ephemeralsEnd(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("ephemeral", server))
		h, _, err := c.create(node, wire.ModeEphemeral)
		if err != nil {
			return err
		}
		p.saw("create an ephemeral znode at "+p.at(server), said(h.Err), said(wire.OK))
		if err := c.close(); err != nil {
			return err
		}
		d, err := p.open(server+1, time.Minute)
		if err != nil {
			return err
		}
		if _, err := d.barrier(node); err != nil {
			return err
		}
		_, h, err = d.exists(node, false)
		return p.sawReply(err, "read it at "+p.at(d.server)+" after its session was closed, and after a write", said(h.Err), said(wire.NoNode))
	})
}

// A session that sends nothing must end within timeout + lateness*timeout + otherWork. ZooKeeper
// ends it within the timeout and one tick; by default, a tick is half of the shortest timeout. The
// rest of the time is for busy servers.
const (
	lateness  = 3
	otherWork = 20 * time.Second
)

// A silence says how long a session lived after its client had stopped sending requests.
type silence struct {
	timeout, latest time.Duration
	gone            time.Duration // from the last request until the znode was found to be deleted; 0 means that it was not deleted in time
}

func expiry(p *probe) error {
	all := make([]silence, len(p.servers.Addresses))
	var group errgroup.Group
	for server := range all {
		group.Go(func() (err error) {
			all[server], err = p.silence(server)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for server, s := range all {
		operation := fmt.Sprintf("the znode of a silent session of %v at %s", s.timeout, p.at(server))
		// One clock may be faster than another by a twentieth: decision 0001, A1.
		early, late := s.gone > 0 && s.gone < s.timeout-s.timeout/20, s.gone == 0
		answer := "exists for the timeout and is deleted soon after"
		if early {
			answer = "was deleted too early, after " + s.gone.Round(time.Millisecond).String()
		} else if late {
			answer = fmt.Sprintf("still exists after %v", s.latest)
		}
		p.sawThat(!early && !late, operation, answer, "exists for the timeout and is deleted soon after")
	}
	return nil
}

// The method `silence` opens a session, which creates an ephemeral znode and then sends nothing.
// Then the method waits until the servers delete the znode, because this shows that they have ended
// the session. It gives up when the time s.latest has passed since the reply to the create request.
func (p *probe) silence(server int) (s silence, err error) {
	silent, err := p.open(server, shortest)
	if err != nil {
		return s, err
	}
	observer, err := p.open(server+1, time.Minute)
	if err != nil {
		return s, err
	}
	node := p.path(fmt.Sprint("silent", server))
	s.timeout = silent.timeout()
	s.latest = s.timeout*(1+lateness) + otherWork
	sent := time.Now()
	h, _, err := silent.create(node, wire.ModeEphemeral)
	if err := failed("create an ephemeral znode", h, err); err != nil {
		return s, err
	}
	for answered := time.Now(); time.Since(answered) < s.latest; {
		if _, err := observer.barrier(node); err != nil {
			return s, err
		}
		_, h, err := observer.exists(node, false)
		if err != nil {
			return s, err
		}
		if h.Err == wire.NoNode {
			s.gone = time.Since(sent)
			return s, nil
		}
		if h.Err != wire.OK {
			return s, fmt.Errorf("read a znode: %s", said(h.Err))
		}
		if err := p.after(s.timeout / 40); err != nil {
			return s, err
		}
	}
	return s, nil
}

// An activity is a kind of request that must keep a session alive.
type activity struct {
	name string
	do   func(c *client, node string) (wire.ReplyHeader, error)
}

var activities = []activity{
	{"pings", func(c *client, _ string) (wire.ReplyHeader, error) { return c.do(wire.OpPing, nil, nil) }},
	{"reads", func(c *client, node string) (wire.ReplyHeader, error) {
		_, h, err := c.exists(node, false)
		return h, err
	}},
	{"syncs", func(c *client, node string) (wire.ReplyHeader, error) { return c.sync(node) }},
	{"writes", func(c *client, node string) (wire.ReplyHeader, error) { return c.set(node, "alive") }},
}

// A life says whether one kind of activity kept a session alive.
type life struct {
	server  int
	kind    activity
	code    wire.Code     // OK, or the code of the answer that shows that the session has ended
	between time.Duration // the longest possible time without activity
	timeout time.Duration
}

// The function `kept` keeps sessions alive for two and a half timeouts. If this process or the
// servers were delayed in that time, the check proves nothing.
func kept(p *probe) error {
	lives := make([]life, len(p.servers.Addresses)*len(activities))
	var group errgroup.Group
	for i := range lives {
		group.Go(func() (err error) {
			lives[i], err = p.keep(i/len(activities), activities[i%len(activities)])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// The time l.between includes delays of this process and of the session's server. For writes,
	// it also includes delays of the leader, because a write waits for the leader.
	for _, l := range lives {
		if l.between > l.timeout/2 {
			return fmt.Errorf("%s at %s were up to %v apart, more than half of the timeout %v: the machine is too busy for this check",
				l.kind.name, p.at(l.server), l.between.Round(time.Millisecond), l.timeout)
		}
	}
	for _, l := range lives {
		answer := "it is alive"
		if l.code != wire.OK {
			answer = "it ended: " + said(l.code)
		}
		p.saw(fmt.Sprintf("a session of %v at %s that sends only %s for longer than that", l.timeout, p.at(l.server), l.kind.name), answer, "it is alive")
	}
	return nil
}

func (p *probe) keep(server int, kind activity) (life, error) {
	l := life{server: server, kind: kind}
	c, err := p.open(server, shortest)
	if err != nil {
		return l, err
	}
	l.timeout = c.timeout()
	node := p.path(fmt.Sprint("kept", server, kind.name))
	sent := time.Now()
	h, _, err := c.create(node, wire.ModeEphemeral)
	if err := failed("create an ephemeral znode", h, err); err != nil {
		return l, err
	}
	for began := time.Now(); time.Since(began) < l.timeout*5/2; {
		if err := p.after(l.timeout / 8); err != nil {
			return l, err
		}
		next := time.Now()
		h, err := kind.do(c, node)
		if err != nil {
			return l, err
		}
		l.between = max(l.between, time.Since(sent))
		if sent = next; h.Err != wire.OK {
			l.code = h.Err
			return l, nil
		}
	}
	// The session's own server may not know yet that the quorum has ended the session. So the znode
	// is read by another client, after a quorum write.
	observer, err := p.open(server+1, time.Minute)
	if err != nil {
		return l, err
	}
	if _, err := observer.barrier(node); err != nil {
		return l, err
	}
	_, h, err = observer.exists(node, false)
	l.code = h.Err
	l.between = max(l.between, time.Since(sent))
	return l, err
}

func heartbeat(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("beat", server))
		before, _, err := c.create(node, wire.ModeEphemeral)
		if err != nil {
			return err
		}
		for _, of := range []struct {
			what, want string
			ops        []wire.MultiOp
		}{
			{"transaction that checks an ephemeral znode of the session at ", "[check ok]", []wire.MultiOp{check(node)}},
			{"transaction that checks a missing znode at ", "[error no node]", []wire.MultiOp{check(node + "-not")}},
			{"transaction without operations at ", "[]", nil},
		} {
			h, results, err := c.multi(of.ops...)
			if err != nil {
				return err
			}
			p.saw(of.what+p.at(server), beat(h, before.Zxid, resultsText(results)), "ok, a zxid of its own, "+of.want)
			before = h
		}
		return c.close()
	})
}

func beat(h wire.ReplyHeader, before int64, results string) string {
	switch {
	case h.Err != wire.OK:
		return said(h.Err)
	case h.Zxid <= before:
		return "ok, no zxid of its own, " + results
	}
	return "ok, a zxid of its own, " + results
}

func resultsText(results []wire.MultiResult) string {
	parts := make([]string, len(results))
	for i, r := range results {
		parts[i] = r.Op.String() + " " + r.Err.String()
	}
	return fmt.Sprint(parts)
}
