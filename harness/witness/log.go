package witness

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
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

	holes []int64 // zxids of transactions that a torn entry follows, in any log
}

// Read reads the logs log.<zxid> in a directory, which is version-2 of a server's data directory,
// and lists its snapshots. Logs may be missing at the start. A torn end is not an error, because a
// server that was killed leaves one.
func Read(name string, dir fs.FS) (Server, error) {
	s := Server{Name: name}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return s, fmt.Errorf("witness: logs of %s: %w", name, err)
	}
	var logs []int64
	for _, e := range entries {
		kind, zxid, ok := parseName(e.Name())
		switch {
		case !ok:
		case kind == "log":
			logs = append(logs, zxid)
		default:
			s.Snapshots = append(s.Snapshots, zxid)
		}
	}
	slices.Sort(logs)
	slices.Sort(s.Snapshots)
	for _, zxid := range logs {
		if err := s.read(dir, fmt.Sprintf("log.%x", zxid)); err != nil {
			return s, fmt.Errorf("witness: logs of %s: %w", name, err)
		}
	}
	slices.SortStableFunc(s.Txns, func(a, b txn) int { return cmp.Compare(a.Zxid, b.Zxid) })
	return s, nil
}

// read adds the transactions of one file.
func (s *Server) read(dir fs.FS, name string) error {
	file, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	s.Torn = false
	for t, err := range txnlog.Read(file) {
		switch {
		case errors.Is(err, txnlog.ErrTorn):
			s.Torn = true
			if n := len(s.Txns); n > 0 {
				s.holes = append(s.holes, s.Txns[n-1].Zxid)
			}
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		default:
			s.Txns = append(s.Txns, t)
		}
	}
	return nil
}

// parseName parses the name of a log or of a snapshot, which may be compressed.
func parseName(name string) (kind string, zxid int64, ok bool) {
	kind, number, _ := strings.Cut(name, ".")
	number, _, _ = strings.Cut(number, ".")
	zxid, err := strconv.ParseInt(number, 16, 64)
	return kind, zxid, err == nil && (kind == "log" || kind == "snapshot")
}

// A Log is the sequence of transactions that the servers committed.
type Log struct {
	Txns []txn // in order of their zxids

	// Refuted are transactions that a server wrote and that the leader of the next epoch did not
	// have.
	Refuted []txn
	// Differ are zxids under which servers have different transactions, which must not happen.
	Differ []Difference
	// Gaps is the number of places at which transactions are missing from the logs of all servers.
	Gaps int

	servers int
	shared  int // zxids that are in the logs of several servers
	at      map[int64]int
	created map[int64][]*Life // znodes by the zxid of their creation
	named   map[string][]*Life
	began   map[int64]int64 // zxid at which each session was created
	ended   map[int64]int64 // zxid at which each session was closed
}

// A Difference is a pair of transactions under one zxid.
type Difference struct {
	Zxid   int64
	A, B   string // names of servers
	TA, TB txn
}

// A Life is one znode from its creation to its deletion.
type Life struct {
	Path    string
	Session int64 // the session whose request created it
	// Created and Deleted are zxids. Deleted is zero if the znode was never deleted.
	Created, Deleted int64
	DeletedAt        time.Time // by the leader's clock, in milliseconds
	DeletedBy        int64     // the session whose request deleted it, or whose end deleted it
	Closed           bool      // it was deleted because its session ended
	// WithParent is set if the same transaction deleted the parent, for example the item of a
	// claim, so that nobody can be granted the same again.
	WithParent bool
}

// Merge combines the logs of servers into one sequence.
func Merge(servers ...Server) *Log {
	l := &Log{servers: len(servers), at: make(map[int64]int)}
	all := make(map[int64]txn)
	from, seen := make(map[int64]string), make(map[int64]int)
	for _, s := range servers {
		for _, t := range s.Txns {
			if seen[t.Zxid]++; seen[t.Zxid] == 1 {
				all[t.Zxid], from[t.Zxid] = t, s.Name
			} else if !same(t, all[t.Zxid]) {
				l.Differ = append(l.Differ, Difference{t.Zxid, from[t.Zxid], s.Name, all[t.Zxid], t})
			}
			if seen[t.Zxid] == 2 {
				l.shared++
			}
		}
	}
	ends := ends(servers)
	previous := int64(0)
	for _, zxid := range slices.Sorted(maps.Keys(all)) {
		if end, ok := ends[epoch(zxid)]; ok && zxid > end {
			l.Refuted = append(l.Refuted, all[zxid])
			continue
		}
		if first := zxid&counter == 1; !first && zxid != previous+1 {
			l.Gaps++
		}
		previous = zxid
		l.at[zxid] = len(l.Txns)
		l.Txns = append(l.Txns, all[zxid])
	}
	l.replay()
	return l
}

type (
	txn    = txnlog.Txn
	change = txnlog.Change
)

const counter = 1<<32 - 1

func epoch(zxid int64) int64 { return zxid >> 32 }

func same(a, b txn) bool {
	return a.TxnHeader == b.TxnHeader && a.Timeout == b.Timeout && a.Err == b.Err &&
		slices.EqualFunc(a.Changes, b.Changes, func(x, y change) bool {
			return x.Op == y.Op && x.Path == y.Path && x.Ephemeral == y.Ephemeral && bytes.Equal(x.Data, y.Data)
		})
}

// ends returns the last committed zxid of each epoch, if the logs prove it. The proof is a server's
// log that continues from that zxid into a later epoch, without a snapshot in between. A snapshot
// may have come from the leader instead of transactions that the server missed. A damaged log
// proves nothing, and neither do servers that disagree.
func ends(servers []Server) map[int64]int64 {
	found, doubtful := make(map[int64]int64), make(map[int64]bool)
	for _, s := range servers {
		for i := 1; i < len(s.Txns); i++ {
			a, b := s.Txns[i-1].Zxid, s.Txns[i].Zxid
			if epoch(a) == epoch(b) || slices.Contains(s.holes, a) || slices.ContainsFunc(s.Snapshots, func(z int64) bool { return a < z && z < b }) {
				continue
			}
			if before, ok := found[epoch(a)]; ok && before != a {
				doubtful[epoch(a)] = true
			}
			found[epoch(a)] = a
		}
	}
	maps.DeleteFunc(found, func(e, _ int64) bool { return doubtful[e] })
	return found
}

// replay follows each znode and each session through the log.
func (l *Log) replay() {
	l.created, l.named = make(map[int64][]*Life), make(map[string][]*Life)
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
				life := &Life{Path: c.Path, Session: t.Session, Created: t.Zxid}
				alive[c.Path] = life
				l.created[t.Zxid] = append(l.created[t.Zxid], life)
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

// Txn returns the committed transaction of a zxid.
func (l *Log) Txn(zxid int64) (t txn, ok bool) {
	i, ok := l.at[zxid]
	if ok {
		t = l.Txns[i]
	}
	return t, ok
}

// Life returns the znode of a grant. Names of contenders are unique, so the name identifies the
// znode. If several znodes have the name, Life returns the one that the transaction created.
// Without a name it returns the last znode that the transaction created.
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
