package quorum

import (
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// handshake handles the first frame. For a new session it submits a write. For an existing session
// it requests a validation by the leader.
func (c *Conn) handshake(frame []byte) {
	var req wire.ConnectRequest
	if _, err := wire.Decode(frame, &req); err != nil {
		c.shut()
		return
	}
	s, cfg := c.s, &c.s.c.cfg
	if req.LastZxidSeen > s.tree.Zxid {
		c.shut() // the client has seen a newer state than this replica has
		return
	}
	c.old = req.NoReadOnly
	c.timeout = max(req.Timeout, int32(cfg.MinSession/time.Millisecond))
	c.timeout = min(c.timeout, int32(cfg.MaxSession/time.Millisecond))
	c.state = handshaking
	if req.SessionID == 0 || cfg.NoResume {
		c.own(s.newSession())
		if s.term != nil {
			s.term.sessions.track(c.session, c.timeout, s.now())
		}
		s.submit(&request{conn: c, session: c.session, op: wire.OpCreateSession, body: timeoutBody(c.timeout)})
		return
	}
	if old := s.bySession[req.SessionID]; old != nil {
		old.shut()
	}
	c.own(req.SessionID)
	switch {
	case string(req.Password) != string(password(req.SessionID)):
		c.established(false)
	case s.term != nil:
		valid := s.term.sessions.touch(c.session, c.timeout, s.now())
		s.term.sessions.setOwner(c.session, self)
		c.established(valid)
	default:
		s.validating[c.session] = c
		s.c.send(s, s.up.leader, message{kind: revalidate, peer: s.up, session: c.session, timeout: c.timeout})
	}
}

// newSession returns the id of a new session.
func (s *server) newSession() int64 {
	if s.c.cfg.NoResume {
		s.c.issued++
		return s.c.issued
	}
	s.nextSID++
	return s.nextSID - 1
}

func (c *Conn) own(session int64) {
	c.session = session
	c.s.bySession[session] = c
}

// The function `password` returns the password with which a client may resume a session. All
// servers compute the same password.
func password(session int64) []byte {
	p := make([]byte, 0, 16)
	x := uint64(session) ^ 0x9e3779b97f4a7c15
	for range 16 {
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		p = append(p, byte(x*0x2545f4914f6cdd1d>>56))
	}
	return p
}

// The method `established` answers the handshake, and closes the connection if the session is not
// valid.
func (c *Conn) established(valid bool) {
	if c.state != handshaking {
		return
	}
	r := wire.ConnectResponse{Password: make([]byte, 16), NoReadOnly: c.old}
	if valid {
		r.Timeout, r.SessionID = c.timeout, c.session
		if !c.s.c.cfg.NoResume {
			r.Password = password(c.session)
		}
	}
	c.state = open
	c.buf = wire.AppendFrame(c.buf[:0], &r)
	c.transmit(c.buf)
	if !valid {
		c.shut()
		return
	}
	c.wake()
}
