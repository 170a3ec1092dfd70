package witness

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// A Server is the content of one server's logs.
type Server struct {
	Name      string
	Txns      []txn   // in order of their zxids
	Snapshots []int64 // the zxids of its snapshots, in order
	Torn      bool    // the newest log ends in an incomplete transaction

	holes []int64 // zxids of transactions after which a log has a torn entry
}

// Read reads the logs in a directory, and lists its snapshots: see txnlog.Open. An incomplete last
// record is no error, because a server that was killed may leave one.
func Read(name string, dir fs.FS) (Server, error) {
	s := Server{Name: name}
	logs, err := txnlog.Open(name, dir)
	if err != nil {
		return s, fmt.Errorf("witness: %w", err)
	}
	s.Snapshots = logs.Snapshots
	for t, err := range logs.Txns {
		s.Torn = errors.Is(err, txnlog.ErrTorn)
		switch n := len(s.Txns); {
		case s.Torn && n > 0:
			s.holes = append(s.holes, s.Txns[n-1].Zxid)
		case s.Torn:
		case err != nil:
			return s, fmt.Errorf("witness: %w", err)
		default:
			s.Txns = append(s.Txns, t)
		}
	}
	return s, nil
}

// The method `logs` returns s in the form that txnlog.Merge needs.
func (s Server) logs() txnlog.Server {
	return txnlog.Server{Name: s.Name, Snapshots: s.Snapshots, Txns: func(yield func(txn, error) bool) {
		for _, t := range s.Txns {
			if !yield(t, nil) || slices.Contains(s.holes, t.Zxid) && !yield(txn{}, txnlog.ErrTorn) {
				return
			}
		}
	}}
}

// A Log is the sequence of transactions that the servers committed.
type Log struct {
	Txns []txn // in order of their zxids

	*txnlog.Merged // the transactions that were dropped, and the mistakes and gaps in the logs

	servers int
	at      map[int64]int
	created map[int64][]*Life // znodes by the zxid of their creation
	named   map[string][]*Life
	owned   map[int64][]*Life // znodes by the session whose request created them
	began   map[int64]int64   // zxid at which each session was created
	ended   map[int64]int64   // zxid at which each session was closed
}

// A Life is one znode from its creation to its deletion.
type Life struct {
	Path    string
	Session int64 // the session whose request created it
	// Created and Deleted are zxids. Deleted is zero if the znode was never deleted.
	Created, Deleted int64
	CreatedAt        time.Time // by the leader's clock, in milliseconds
	DeletedAt        time.Time
	DeletedBy        int64 // the session that deleted it, by a request or by its end
	Closed           bool  // it was deleted because its session ended
	// WithParent is set if the transaction that deleted this znode also deleted its parent. For
	// example, an ack deletes a claim together with its item. Then no client can claim that item
	// again.
	WithParent bool

	data      []byte // when it was created
	ephemeral bool
}

// Merge combines the logs of servers into one sequence.
func Merge(servers ...Server) *Log { return MergeAfter(0, servers...) }

// MergeAfter is like Merge, but leaves out the transactions up to a zxid. If the sequence does not
// begin with the next zxid or a new epoch, that counts as a gap.
func MergeAfter(zxid int64, servers ...Server) *Log {
	logs := make([]txnlog.Server, len(servers))
	for i, s := range servers {
		logs[i] = s.logs()
	}
	l := &Log{Merged: txnlog.Merge(zxid, logs...), servers: len(servers), at: make(map[int64]int)}
	for t := range l.All() { // no error: the logs are in memory
		l.at[t.Zxid] = len(l.Txns)
		l.Txns = append(l.Txns, t)
	}
	l.replay()
	return l
}

type (
	txn    = txnlog.Txn
	change = txnlog.Change
)

// The method `replay` follows each znode and each session through the log.
func (l *Log) replay() {
	l.created, l.named, l.owned = make(map[int64][]*Life), make(map[string][]*Life), make(map[int64][]*Life)
	l.began, l.ended = make(map[int64]int64), make(map[int64]int64)
	alive := make(map[string]*Life)
	ephemerals := make(map[int64]map[string]bool)
	for _, t := range l.Txns {
		var deleted []*Life
		remove := func(p string, closed bool) {
			if life := alive[p]; life != nil {
				deleted = append(deleted, life)
				life.Deleted, life.DeletedAt, life.DeletedBy, life.Closed = t.Zxid, time.UnixMilli(t.Time), t.Session, closed
				delete(alive, p)
				delete(ephemerals[life.Session], p)
			}
		}
		switch {
		case t.Op == wire.OpCreateSession:
			l.began[t.Session] = t.Zxid
		case t.Op == wire.OpCloseSession:
			l.ended[t.Session] = t.Zxid
			if t.Unlisted {
				for _, p := range slices.Sorted(maps.Keys(ephemerals[t.Session])) {
					remove(p, true)
				}
			}
		}
		for _, c := range t.Changes {
			switch c.Op {
			case wire.OpCreate:
				life := &Life{Path: c.Path, Session: t.Session, Created: t.Zxid, CreatedAt: time.UnixMilli(t.Time), data: c.Data, ephemeral: c.Ephemeral}
				alive[c.Path] = life
				l.created[t.Zxid] = append(l.created[t.Zxid], life)
				l.owned[t.Session] = append(l.owned[t.Session], life)
				name := path.Base(c.Path)
				l.named[name] = append(l.named[name], life)
				if c.Ephemeral {
					if ephemerals[t.Session] == nil {
						ephemerals[t.Session] = make(map[string]bool)
					}
					ephemerals[t.Session][c.Path] = true
				}
			case wire.OpDelete:
				remove(c.Path, t.Op == wire.OpCloseSession)
				for _, child := range deleted {
					child.WithParent = child.WithParent || path.Dir(child.Path) == c.Path
				}
			}
		}
	}
}

// Txn returns the committed transaction of a zxid. A nil Log has none.
func (l *Log) Txn(zxid int64) (t txn, ok bool) {
	if l == nil {
		return t, false
	}
	i, ok := l.at[zxid]
	if ok {
		t = l.Txns[i]
	}
	return t, ok
}

// Life returns the znode of a grant, or nil. It finds the znode by its name. If several znodes have
// the name, Life prefers the one that the transaction with the given zxid created. If the name is
// empty, Life returns the last znode that this transaction created.
func (l *Log) Life(zxid int64, name string) *Life {
	if name == "" {
		lives := l.created[zxid]
		if len(lives) == 0 {
			return nil
		}
		return lives[len(lives)-1]
	}
	var found *Life
	for _, life := range l.named[name] {
		if found == nil || life.Created == zxid {
			found = life
		}
	}
	return found
}
