package quorum

import (
	"slices"
	"sort"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// A server is one node of the ensemble. It leads while the field `term` is set, and follows while
// the field `up` is set. If it is not down and does neither, it is in state LOOKING.
type server struct {
	c      *Cluster
	id     int // from 0; ZooKeeper's own ids are one more
	clock  clock
	down   bool
	paused bool
	lag    time.Duration // from the arrival of a commit until it is applied
	pace   time.Duration // time that a leader takes to close each expired session
	late   time.Duration // added to the time between the rounds of pings that it sends as a leader

	joining *server       // the leader that it is about to join
	joinAt  time.Duration // when it joins

	// The fields of this group survive a crash.
	tree      *tree.Tree
	log       []*tree.Txn // ascending; entries that are applied may be missing at its start
	trimmed   int64       // zxid of the last missing transaction
	epoch     int64
	committed int64 // all transactions up to it may be applied

	term    *term
	up      *peer
	heard   time.Duration // when the last packet from the leader arrived
	electAt time.Duration // when it takes part in an election, in state LOOKING

	conns     map[int]*Conn // by id
	bySession map[int64]*Conn
	nextSID   int64
	held      []*Conn       // connections whose frames are delayed until a given time
	nextIdle  time.Duration // time of the next check for idle connections

	// These are the queues of the commit processor. The map `pending` has, for each session, the
	// first waiting write and the requests after it. The field `writes` has the writes of this
	// server's clients, in order. The field `commits` has the transactions to apply.
	pending map[int64][]*request
	writes  []*request
	commits []committed

	touched    []touch // sessions active since the last ping, in order
	touchIndex map[int64]int
	validating map[int64]*Conn

	received, sent int64 // packets
	traceMask      int64 // mask for gtmk and stmk; the model has no trace messages
}

// The type `committed` is a transaction, or a sync of a client of this server, and the earliest
// time at which the server applies it.
type committed struct {
	at   time.Duration
	zxid int64
	sync *request
}

func newServer(c *Cluster, id int, t *tree.Tree) *server {
	s := &server{c: c, id: id, tree: t, traceMask: traceMask}
	s.clock = clock{rate: 1, local: time.Duration(c.cfg.Rand.Int64N(int64(c.cfg.Tick)))}
	s.nextSID = int64(id+1)<<56 | int64(c.cfg.Rand.Uint64()&(1<<40-1))<<16
	s.reset()
	return s
}

// reset clears all state that ends with a role.
func (s *server) reset() {
	s.held = nil
	s.conns, s.bySession = make(map[int]*Conn), make(map[int64]*Conn)
	s.pending, s.writes, s.commits = make(map[int64][]*request), nil, nil
	s.touched, s.touchIndex = nil, make(map[int64]int)
	s.validating = make(map[int64]*Conn)
	s.tree.Watches = tree.Watches{}
}

func (s *server) serving() bool { return !s.down && (s.term != nil || s.up != nil) }
func (s *server) looking() bool { return !s.down && s.term == nil && s.up == nil }

// The method `tail` returns the zxid of the last transaction in the log, applied or not.
func (s *server) tail() int64 {
	if len(s.log) == 0 {
		return max(s.trimmed, s.committed)
	}
	return s.log[len(s.log)-1].Zxid
}

// The method `after` returns the index of the first transaction after zxid.
func (s *server) after(zxid int64) int {
	return sort.Search(len(s.log), func(i int) bool { return s.log[i].Zxid > zxid })
}

func (s *server) firstAfter(zxid int64) *tree.Txn {
	if len(s.log) == 0 || s.log[len(s.log)-1].Zxid <= zxid {
		return nil
	}
	return s.log[s.after(zxid)]
}

func (s *server) append(txn *tree.Txn) { s.log = append(s.log, txn) }

// The method `next` returns the earliest of the server's timers, in the server's own time.
func (s *server) next() (at time.Duration, fire timer) {
	if s.down || s.paused {
		return 0, nil
	}
	at = 1<<63 - 1
	earlier := func(t time.Duration, f timer) {
		if t < at {
			at, fire = t, f
		}
	}
	switch {
	case s.term != nil:
		at, fire = s.term.next()
	case s.up != nil:
		earlier(s.heard+s.c.cfg.Tick*time.Duration(s.c.cfg.SyncLimit), (*server).lookElsewhere)
	default:
		earlier(s.electAt, (*server).elect)
	}
	if len(s.commits) > 0 {
		earlier(s.commits[0].at, (*server).applyDue)
	}
	if len(s.conns) > 0 {
		earlier(s.nextIdle, (*server).closeIdle)
	}
	for _, conn := range s.held {
		if t, ok := conn.release(); ok {
			earlier(t, (*server).wakeHeld)
		}
	}
	return at, fire
}

func (s *server) lookElsewhere() { s.look("leader is silent") }
func (s *server) elect()         { s.c.elect() }

// wakeHeld wakes the connections whose waiting time has ended.
func (s *server) wakeHeld() {
	held := s.held
	s.held = nil
	for _, conn := range held {
		conn.wake()
		if len(conn.out) > 0 || conn.inHold > s.now() {
			s.held = append(s.held, conn)
		}
	}
}

// The method `hold` makes sure that the connection is woken when its waiting time ends.
func (s *server) hold(conn *Conn) {
	if !slices.Contains(s.held, conn) {
		s.held = append(s.held, conn)
	}
}

// fromLeader handles a packet from the server's leader.
func (s *server) fromLeader(m message) {
	s.heard = s.now()
	switch m.kind {
	case eof:
		s.look("leader has hung up")
	case proposal:
		s.append(m.txn)
		s.c.send(s, m.peer.leader, message{kind: ack, peer: m.peer, zxid: m.zxid})
	case commit:
		s.commit(m.zxid)
	case ping:
		s.answerPing(m)
	case synced:
		s.commits = append(s.commits, committed{at: s.now() + s.lag, sync: m.req})
		s.applyDue()
	case revalidated:
		if conn := s.validating[m.session]; conn != nil {
			delete(s.validating, m.session)
			conn.established(m.valid)
		}
	}
}

// answerPing reports the active sessions to the leader.
func (s *server) answerPing(m message) {
	s.c.send(s, m.peer.leader, message{kind: pong, peer: m.peer, zxid: m.zxid, touched: s.touched})
	s.touched, s.touchIndex = nil, make(map[int64]int)
}

// The method `commit` records that all transactions up to zxid may be applied.
func (s *server) commit(zxid int64) {
	for txn := s.firstAfter(s.committed); txn != nil && txn.Zxid <= zxid; txn = s.firstAfter(s.committed) {
		s.committed = txn.Zxid
		s.commits = append(s.commits, committed{at: s.now() + s.lag, zxid: txn.Zxid})
	}
	s.applyDue()
}

func (s *server) applyDue() {
	for len(s.commits) > 0 && s.commits[0].at <= s.now() {
		x := s.commits[0]
		if s.commits = s.commits[1:]; len(s.commits) == 0 {
			s.commits = nil
		}
		if x.sync != nil {
			s.complete(x.sync.session, x.sync.cxid, nil, tree.Result{})
			continue
		}
		s.apply(s.firstAfter(x.zxid - 1))
	}
}

// apply applies a committed transaction, notifies watchers, and answers the
// client.
func (s *server) apply(txn *tree.Txn) {
	if txn.Op == wire.OpCloseSession {
		s.untouch(txn.Session)
		if s.term != nil {
			delete(s.term.sessions.sessions, txn.Session)
		}
	}
	res := s.tree.Apply(txn)
	if s.term != nil {
		s.term.prep.Applied(txn.Zxid)
	}
	own := s.complete(txn.Session, txn.Cxid, txn, res)
	if txn.Op == wire.OpCloseSession && !own {
		if conn := s.bySession[txn.Session]; conn != nil {
			conn.shut()
		}
	}
	s.trim()
}

// trimAt is the number of transactions that stay in a log when its start is
// discarded. A server that is further behind gets a snapshot.
const trimAt = 4096

// The method `trim` discards old entries of the log that this replica has applied. A follower that
// needs the discarded entries gets a copy of the tree.
func (s *server) trim() {
	if s.c.cfg.KeepLog || len(s.log) < 2*trimAt || len(s.commits) > 0 {
		return
	}
	n := s.after(s.tree.Zxid) - trimAt
	if n <= 0 {
		return
	}
	s.trimmed = s.log[n-1].Zxid
	s.log = slices.Clone(s.log[n:])
}

// The method `complete` answers the first waiting write of this server's clients. It also answers
// the reads that the same session sent after that write and before the session's next write. If the
// first waiting write is not the given one, `complete` does nothing and returns false.
func (s *server) complete(session int64, cxid int32, txn *tree.Txn, res tree.Result) bool {
	if len(s.writes) == 0 || s.writes[0].session != session || s.writes[0].cxid != cxid {
		return false
	}
	r := s.writes[0]
	if s.writes = s.writes[1:]; len(s.writes) == 0 {
		s.writes = nil
	}
	queue := s.pending[session][1:]
	s.finish(r, txn, res)
	for len(queue) > 0 && !queue[0].needsCommit(s.term == nil) {
		s.finish(queue[0], nil, tree.Result{})
		queue = queue[1:]
	}
	if len(queue) == 0 {
		delete(s.pending, session)
	} else {
		s.pending[session] = queue
	}
	return true
}

// The method `submit` handles a request from one of this server's clients.
func (s *server) submit(r *request) {
	if !s.touch(r.session, r.conn.timeout) {
		// ZooKeeper drops the request, because the session is closing, and later closes the
		// connection.
		return
	}
	if !s.known(r.op) {
		r.conn.reply(r, &wire.ReplyHeader{Xid: r.cxid, Zxid: -1, Err: wire.Unimplemented}, nil)
		r.conn.end()
		return
	}
	writes, follower := r.op.IsWrite() && !r.throttled(), s.term == nil
	if !follower && !writes && !r.throttled() {
		s.term.checkRead(r)
	}
	if queue := s.pending[r.session]; r.needsCommit(follower) || queue != nil {
		s.pending[r.session] = append(queue, r)
		if r.needsCommit(follower) {
			s.writes = append(s.writes, r)
		}
	} else {
		s.finish(r, nil, tree.Result{})
	}
	switch {
	case !follower && writes:
		s.term.submit(r, self)
	case follower && r.needsCommit(true):
		f := *r
		f.conn = nil
		s.c.send(s, s.up.leader, message{kind: forward, peer: s.up, req: &f})
	}
}

// The method `touch` records that a session is active. A leader records this in its table of
// sessions and returns false if the session is closing or does not exist. A follower reports the
// session in its answer to the leader's next ping.
func (s *server) touch(session int64, timeout int32) bool {
	if s.term != nil {
		return s.term.sessions.touch(session, timeout, s.now())
	}
	if i, ok := s.touchIndex[session]; ok {
		s.touched[i].timeout = timeout
		return true
	}
	s.touchIndex[session] = len(s.touched)
	s.touched = append(s.touched, touch{session, timeout})
	return true
}

func (s *server) untouch(session int64) {
	if i, ok := s.touchIndex[session]; ok {
		s.touched[i].session = 0 // session 0 does not exist, so the leader ignores it
		delete(s.touchIndex, session)
	}
}

// The method `ordered` returns the connections in the order of opening.
func (s *server) ordered() []*Conn {
	conns := make([]*Conn, 0, len(s.conns))
	for _, conn := range s.conns {
		conns = append(conns, conn)
	}
	slices.SortFunc(conns, func(a, b *Conn) int { return a.id - b.id })
	return conns
}

// Log returns the log of a server, whether the server runs or not. The caller must not change the
// log.
func (c *Cluster) Log(server int) []*tree.Txn { return c.servers[server].log }
