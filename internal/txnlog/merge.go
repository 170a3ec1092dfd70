package txnlog

import (
	"bytes"
	"errors"
	"iter"
	"maps"
	"math"
	"slices"
)

// A Merged is the sequence of transactions that several servers committed. Its fields are complete
// when the sequence of All has been read to its end.
type Merged struct {
	// Refuted has transactions that a server wrote, but that the leader of the next epoch did not
	// have.
	Refuted []Txn
	// Differ has each zxid under which servers have different transactions. That must not happen.
	Differ []Difference
	// Gaps is the number of places at which transactions are missing from all logs.
	Gaps int
	// Shared is the number of zxids that are in the logs of several servers.
	Shared int
	// Disorder is the number of transactions that are left out because an earlier transaction in
	// the logs of the same server has the same zxid or a larger one.
	Disorder int

	servers []Server
	after   int64
}

// A Difference is two transactions under one zxid.
type Difference struct {
	Zxid   int64
	A, B   string // names of servers
	TA, TB Txn
}

// Merge makes one sequence of the logs of several servers. It leaves out the transactions up to the
// zxid `after`.
//
// Each zxid is assigned by only one leader. So all servers that have a transaction with this zxid
// must have the same transaction. At the end of an epoch, a server can also have transactions that
// no majority accepted. If the logs prove that such a transaction was not committed, Merge leaves
// it out: see endsOf.
func Merge(after int64, servers ...Server) *Merged {
	return &Merged{servers: servers, after: after}
}

// All returns the committed transactions in order. If a log cannot be read, the error ends the
// sequence. If there are several servers, All reads their logs twice.
func (m *Merged) All() iter.Seq2[Txn, error] {
	return func(yield func(Txn, error) bool) {
		m.Refuted, m.Differ, m.Gaps, m.Shared, m.Disorder = nil, nil, 0, 0, 0
		var ends map[int64]int64
		if len(m.servers) > 1 { // if there is only one log, no other log can refute its transactions
			var err error
			if ends, err = endsOf(m.servers); err != nil {
				yield(Txn{}, err)
				return
			}
		}
		previous := m.after
		for t, err := range m.inOrder() {
			if err != nil {
				yield(t, err)
				return
			}
			if end, ok := ends[epoch(t.Zxid)]; ok && t.Zxid > end {
				m.Refuted = append(m.Refuted, t)
				continue
			}
			if first := t.Zxid&counter == 1; !first && t.Zxid != previous+1 {
				m.Gaps++
			}
			previous = t.Zxid
			if !yield(t, nil) {
				return
			}
		}
	}
}

// head is the next transaction of one server.
type head struct {
	server string
	next   func() (Txn, error, bool)
	txn    Txn // if there is none, its zxid is the largest possible one
}

// advance reads until the next transaction whose zxid is larger than the given one.
func (h *head) advance(m *Merged, zxid int64) error {
	for {
		t, err, ok := h.next()
		switch {
		case !ok:
			h.txn.Zxid = math.MaxInt64
			return nil
		case errors.Is(err, ErrTorn):
			continue
		case err != nil:
			return err
		case t.Zxid > zxid:
			h.txn = t
			return nil
		case t.Zxid > m.after:
			m.Disorder++
		}
	}
}

// inOrder yields one transaction for each zxid, in order. It adds an entry to m.Differ if servers
// have different transactions under one zxid.
func (m *Merged) inOrder() iter.Seq2[Txn, error] {
	return func(yield func(Txn, error) bool) {
		heads := make([]head, len(m.servers))
		for i, s := range m.servers {
			next, stop := iter.Pull2(s.Txns)
			defer stop()
			heads[i] = head{server: s.Name, next: next}
			if err := heads[i].advance(m, m.after); err != nil {
				yield(Txn{}, err)
				return
			}
		}
		for len(heads) > 0 {
			first := 0
			for i := range heads {
				if heads[i].txn.Zxid < heads[first].txn.Zxid {
					first = i
				}
			}
			t, shared := heads[first].txn, false
			if t.Zxid == math.MaxInt64 {
				return
			}
			for i := first; i < len(heads); i++ {
				h := &heads[i]
				if h.txn.Zxid != t.Zxid {
					continue
				}
				if i > first {
					shared = true
					if !same(t, h.txn) {
						m.Differ = append(m.Differ, Difference{t.Zxid, heads[first].server, h.server, t, h.txn})
					}
				}
				if err := h.advance(m, t.Zxid); err != nil {
					yield(Txn{}, err)
					return
				}
			}
			if shared {
				m.Shared++
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

const counter = 1<<32 - 1

func epoch(zxid int64) int64 { return zxid >> 32 }

func same(a, b Txn) bool {
	return a.TxnHeader == b.TxnHeader && a.Timeout == b.Timeout && a.Err == b.Err &&
		slices.EqualFunc(a.Changes, b.Changes, func(x, y Change) bool {
			return x.Op == y.Op && x.Path == y.Path && x.Ephemeral == y.Ephemeral && x.Container == y.Container && bytes.Equal(x.Data, y.Data)
		})
}

// endsOf returns, for each epoch, the zxid of the epoch's last committed transaction. It leaves out
// an epoch if the logs do not prove where the epoch ended.
//
// A log proves that the transaction t was the last committed one of its epoch if the next
// transaction in the log belongs to a later epoch. When a server writes a transaction of the later
// epoch, its earlier transactions already agree with those of the later epoch's leader. So t is the
// last transaction that this leader has of the earlier epoch, and the leader's earlier transactions
// are committed.
//
// Such a log proves nothing in two cases:
//
//   - The server has a snapshot between t and the next transaction. The server may have received
//     the snapshot from the leader in place of transactions that it missed.
//   - The log is damaged between t and the next transaction.
//
// If the logs of two servers prove different ends of an epoch, endsOf leaves out that epoch.
func endsOf(servers []Server) (map[int64]int64, error) {
	found, doubtful := make(map[int64]int64), make(map[int64]bool)
	for _, s := range servers {
		a, torn := int64(0), false // a is the zxid of the previous transaction; torn is set if only a part of a transaction follows it
		for b, err := range s.allZxids() {
			switch {
			case errors.Is(err, ErrTorn):
				torn = true
				continue
			case err != nil:
				return nil, err
			}
			if a != 0 && epoch(a) < epoch(b) && !torn && !slices.ContainsFunc(s.Snapshots, func(z int64) bool { return a < z && z < b }) {
				if before, ok := found[epoch(a)]; ok && before != a {
					doubtful[epoch(a)] = true
				}
				found[epoch(a)] = a
			}
			a, torn = b, false
		}
	}
	maps.DeleteFunc(found, func(e, _ int64) bool { return doubtful[e] })
	return found, nil
}
