package quorum

import (
	"encoding/binary"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// A term is the state of a server while it leads: the leader's side of the
// protocol with its followers, the sessions, and the checks of writes.
type term struct {
	s        *server
	c        *Cluster
	zxid     int64   // the last one assigned
	peers    []*peer // by server; nil for those that do not follow
	sessions *tracker
	taken    []Expiry // expired sessions that are not marked as closing yet, in order
	ending   Expiry   // the session that is marked and is closed at endAt; session 0 is none
	endAt    time.Duration
	prep     *tree.Prep
	syncs    []pendingSync

	tick     int64
	halfTick bool // whether the next half tick completes a tick
	nextPing time.Duration
	nextReap time.Duration
}

// A pendingSync is answered when its zxid is committed.
type pendingSync struct {
	zxid int64
	peer *peer
	req  *request
}

// reapEvery is the interval at which the leader deletes containers.
const reapEvery = time.Minute

func newTerm(s *server, epoch int64) *term {
	c := s.c
	t := &term{
		s: s, c: c, zxid: epoch << 32, peers: make([]*peer, c.cfg.Servers),
		sessions: newTracker(c.cfg.Tick, s.now(), c.Now), prep: tree.NewPrep(s.tree, c.cfg.TTL),
		nextPing: s.now() + c.cfg.Tick/2, nextReap: s.now() + reapEvery,
	}
	s.tree.Zxid = t.zxid
	ids, timeout := s.tree.Sessions()
	for _, id := range ids {
		ms, _ := timeout(id)
		t.sessions.track(id, ms, s.now())
	}
	return t
}

// The method `next` returns the earliest of the leader's timers.
func (t *term) next() (at time.Duration, fire timer) {
	at, fire = t.nextPing, func(s *server) { s.term.pingAll() }
	if tick := t.nextExpiry(); tick < at {
		at, fire = tick, func(s *server) { s.term.expire() }
	}
	if t.nextReap < at {
		at, fire = t.nextReap, func(s *server) { s.term.reap() }
	}
	for _, p := range t.peers {
		if p != nil && t.dead(p) < at {
			at, fire = t.dead(p), func(s *server) { s.term.dropDead() }
		}
	}
	return at, fire
}

// The method `dead` returns the time at which the leader gives up a follower that stays silent.
func (t *term) dead(p *peer) time.Duration {
	return p.heard + t.c.cfg.Tick*time.Duration(t.c.cfg.SyncLimit)
}

// dropDead gives up the follower that has been silent for longest.
func (t *term) dropDead() {
	var first *peer
	for _, p := range t.peers {
		if p != nil && (first == nil || t.dead(p) < t.dead(first)) {
			first = p
		}
	}
	t.drop(first)
}

// pingAll does the work of one half tick. At every full tick, the leader first checks that enough
// followers have sent a packet within the sync limit. If not, it steps down. After the check, it
// pings the followers. It gives up a follower that has not acknowledged a proposal within the sync
// limit.
func (t *term) pingAll() {
	t.nextPing = t.s.now() + t.c.cfg.Tick/2 + t.s.late
	if t.halfTick {
		t.tick++
		inSync := 1
		for _, p := range t.peers {
			if p != nil && t.tick <= p.deadline {
				inSync++
			}
		}
		if inSync < t.c.majority() {
			t.s.look("not enough followers in sync")
			return
		}
	}
	t.halfTick = !t.halfTick
	for _, p := range t.peers {
		if p == nil {
			continue
		}
		limit := t.c.cfg.Tick * time.Duration(t.c.cfg.SyncLimit)
		if len(p.pending) > 0 && t.s.now()-p.pending[0].at >= limit {
			t.drop(p)
			continue
		}
		t.c.send(t.s, p.follower, message{kind: ping, peer: p, zxid: t.zxid})
	}
}

// The method `drop` gives up a follower: it closes the connection to the follower.
func (t *term) drop(p *peer) {
	t.c.cfg.Trace("server %d gives up follower %d", t.s.id, p.follower.id)
	p.hangUp(t.s)
	t.peers[p.follower.id] = nil
}

// nextExpiry returns the time at which the expirer continues: with the session
// that it is closing, or with the next tick.
func (t *term) nextExpiry() time.Duration {
	if t.ending.Session != 0 {
		return t.endAt
	}
	return t.sessions.next
}

// The method `expire` is one step of the expirer. At a tick it collects, in t.taken, all sessions
// whose time is over. Then, for one session after another, it marks the session as closing, waits
// for the server's pace, and closes the session. Requests of a collected session that is not marked
// yet are still answered, but they cannot prevent the end of the session.
//
// A client can close its session after the expirer has collected the session. Like ZooKeeper's
// expirer, `expire` then closes the session a second time. The second close does not count as an
// expiry.
func (t *term) expire() {
	if t.ending.Session == 0 {
		t.taken = t.sessions.poll()
		if t.s.pace > 0 { // ZooKeeper's set of these sessions has no order
			t.c.cfg.Rand.Shuffle(len(t.taken), func(i, j int) { t.taken[i], t.taken[j] = t.taken[j], t.taken[i] })
		}
		t.markNext()
	}
	for t.ending.Session != 0 && t.endAt <= t.s.now() && t.s.term == t {
		x := t.ending
		t.markNext()
		t.c.cfg.Trace("server %d expires session %x", t.s.id, x.Session)
		if !t.sessions.closed(x.Session) {
			x.Zxid = t.zxid + 1
			t.c.expiries = append(t.c.expiries, x)
		}
		t.submit(&request{session: x.Session, op: wire.OpCloseSession}, self)
	}
}

// markNext marks the next of the expired sessions in t.taken as closing.
func (t *term) markNext() {
	if t.ending = (Expiry{}); len(t.taken) > 0 {
		t.ending, t.taken = t.taken[0], t.taken[1:]
		t.endAt = t.s.now() + t.s.pace
		t.sessions.setClosing(t.ending.Session)
	}
}

// reap deletes empty containers and nodes whose time to live is over.
func (t *term) reap() {
	t.nextReap += reapEvery
	for _, path := range t.s.tree.Reapable(t.c.wall()) {
		t.submit(&request{op: wire.OpDeleteContainer, body: []byte(path)}, self)
	}
}

// receive handles a packet from a follower.
func (t *term) receive(m message) {
	p := m.peer
	p.deadline, p.heard = t.tick+int64(t.c.cfg.SyncLimit), t.s.now()
	switch m.kind {
	case eof:
		t.drop(p)
	case ack:
		p.acked = m.zxid
		for len(p.pending) > 0 && p.pending[0].zxid <= m.zxid {
			p.pending = p.pending[1:]
		}
		t.advance()
	case pong:
		for _, x := range m.touched {
			t.sessions.touch(x.session, x.timeout, t.s.now())
		}
	case revalidate:
		m.valid = t.sessions.touch(m.session, m.timeout, t.s.now())
		if m.valid {
			t.sessions.setOwner(m.session, p)
		}
		m.kind = revalidated
		t.c.send(t.s, p.follower, m)
	case forward:
		if m.req.op == wire.OpSync {
			t.sync(p, m.req)
		} else {
			t.submit(m.req, p)
		}
	}
}

// The method `sync` answers a follower's sync after all current proposals are committed.
func (t *term) sync(p *peer, r *request) {
	if t.s.committed >= t.s.tail() {
		t.c.send(t.s, p.follower, message{kind: synced, peer: p, req: r})
		return
	}
	t.syncs = append(t.syncs, pendingSync{t.s.tail(), p, r})
}

// checkRead checks the session of a request that is not a write, and stores the error in the
// request.
func (t *term) checkRead(r *request) { r.err = t.sessions.check(r.session, self) }

// submit assigns a zxid to a write and proposes its transaction. A write that fails its checks
// becomes a transaction too.
func (t *term) submit(r *request, owner any) {
	t.zxid++
	txn := t.prep.Prepare(tree.Request{
		Session: r.session, Cxid: r.cxid, Op: r.op, Body: r.body, Auth: r.auth,
		Live: func() wire.Code { return t.sessions.check(r.session, owner) },
	}, t.zxid, t.c.wall())
	switch txn.Op {
	case wire.OpCreateSession:
		t.sessions.track(r.session, txn.Timeout, t.s.now())
		t.sessions.setOwner(r.session, owner)
	case wire.OpCloseSession:
		t.sessions.close(r.session)
	}
	t.propose(txn)
}

func (t *term) propose(txn *tree.Txn) {
	t.s.append(txn)
	for _, p := range t.peers {
		if p != nil {
			p.pending = append(p.pending, unacked{txn.Zxid, t.s.now()})
			t.c.send(t.s, p.follower, message{kind: proposal, peer: p, zxid: txn.Zxid, txn: txn})
		}
	}
	t.advance()
}

// The method `advance` commits, in order, the transactions that a majority has in its log.
func (t *term) advance() {
	for {
		txn := t.s.firstAfter(t.s.committed)
		if txn == nil {
			return
		}
		acks := 1
		for _, p := range t.peers {
			if p != nil && p.acked >= txn.Zxid {
				acks++
			}
		}
		if acks < t.c.majority() {
			return
		}
		for _, p := range t.peers {
			if p != nil {
				t.c.send(t.s, p.follower, message{kind: commit, peer: p, zxid: txn.Zxid})
			}
		}
		t.s.commit(txn.Zxid)
		for len(t.syncs) > 0 && t.syncs[0].zxid <= txn.Zxid {
			x := t.syncs[0]
			t.syncs = t.syncs[1:]
			if t.peers[x.peer.follower.id] == x.peer {
				t.c.send(t.s, x.peer.follower, message{kind: synced, peer: x.peer, req: x.req})
			}
		}
		if t.s.term != t {
			return
		}
	}
}

// The method `close` starts to end a session, as if the session had expired.
func (t *term) close(id int64) {
	t.sessions.setClosing(id)
	t.submit(&request{session: id, op: wire.OpCloseSession}, self)
}

func timeoutBody(ms int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(ms)) }
