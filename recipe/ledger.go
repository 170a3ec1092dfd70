package recipe

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/session"
)

// ErrGone means that somebody deleted or set the ledger. Nothing was applied.
var ErrGone = errors.New("recipe: ledger node deleted by another client")

// A Ledger applies transactions of one owner at most once, however often the connection
// goes. It is an ephemeral node whose version counts the transactions. The node is made
// with the first one. A Ledger is not safe for concurrent use.
//
// A look at what a transaction made does not tell whether it was applied where other
// clients delete what was made, like the consumers of a queue. So every transaction also
// sets the ledger, conditional on its version: a transaction that was sent again after it
// had been applied fails at the ledger, and nowhere else.
type Ledger struct {
	s    *session.Session
	dir  string
	kind string

	node  Node  // Path is "" before it is made
	count int32 // transactions applied so far
}

// NewLedger returns a ledger that will be made in dir. No request is made.
func NewLedger(s *session.Session, dir, kind string) *Ledger {
	return &Ledger{s: s, dir: dir, kind: kind}
}

// Do applies ops in one transaction, once. The results are zero where the
// transaction was applied but its reply was lost. A *session.MultiError in the
// error speaks of ops and means that nothing was applied; an error of the ledger is
// none.
//
// The error is Indeterminate only if ctx or the session ended on the way, or
// somebody deleted the ledger. Then the ledger is given up, which leaves its node
// for as long as the session lives, and the next transaction makes a new one.
func (m *Ledger) Do(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	for {
		if err := m.Make(ctx); err != nil {
			return nil, ofLedger(err)
		}
		results, err := m.Try(ctx, ops...)
		if !errors.Is(err, ErrGone) {
			return results, err
		}
	}
}

// Try is Do for ops that rest on what was read after the ledger was made, which it
// has to be. It fails with ErrGone where Do would make the ledger anew: who deleted
// it may have deleted what was read, and all that is there may be something else.
func (m *Ledger) Try(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	unsure := false // an earlier attempt may have been applied
	for {
		set := session.SetOp{Path: m.node.Path, Version: m.count}
		results, err := m.s.Multi(ctx, append([]session.Op{set}, ops...)...)
		part := (*session.MultiError)(nil)
		switch {
		case err == nil:
			m.count++
			return results[1:], nil
		case errors.As(err, &part) && part.Index > 0:
			return nil, failed(&session.MultiError{Index: part.Index - 1, Path: part.Path, Err: part.Err})
		case part != nil && errors.Is(part, zk.ErrBadVersion) && unsure:
			m.count++
			return make([]session.OpResult, len(ops)), nil
		case part != nil && !unsure && (errors.Is(part, zk.ErrNoNode) || errors.Is(part, zk.ErrBadVersion)):
			m.node = Node{}
			return nil, ErrGone
		case part == nil && session.ConnectionLost(err):
			unsure = unsure || session.OutcomeOf(err) == session.Indeterminate
		default:
			return nil, m.giveUp(err, unsure || part == nil && session.OutcomeOf(err) == session.Indeterminate)
		}
	}
}

// giveUp makes the last error of a transaction. Where it is not known how
// often the ledger was set, the ledger is of no use any more.
func (m *Ledger) giveUp(err error, unsure bool) error {
	err = ofLedger(err)
	if !unsure {
		return failed(err)
	}
	m.node = Node{}
	return &session.RequestError{Op: "txn", Path: m.dir, Outcome: session.Indeterminate, Err: err}
}

// ofLedger takes the number of the op out of an error of the ledger: callers would
// take it for one of theirs.
func ofLedger(err error) error {
	if part := (*session.MultiError)(nil); errors.As(err, &part) {
		return &session.RequestError{Op: "mark", Path: part.Path, Outcome: session.OutcomeOf(err), Err: part.Err}
	}
	return err
}

// Make creates the ledger unless there is one.
func (m *Ledger) Make(ctx context.Context) (err error) {
	if m.node.Path != "" {
		return nil
	}
	m.node, err = CreateProtected(ctx, m.s, m.dir, m.kind, nil, session.EphemeralSequential)
	m.count = 0
	return err
}

// Made reports whether the ledger has a node, as far as its owner knows.
func (m *Ledger) Made() bool { return m.node.Path != "" }

// Path is that of the ledger's node, "" if it has none.
func (m *Ledger) Path() string { return m.node.Path }

// Zxid returns the zxid of the last transaction applied, which is the czxid of
// what it made. It fails with ErrGone if somebody deleted the ledger since.
func (m *Ledger) Zxid(ctx context.Context) (int64, error) {
	stat, err := m.s.Exists(ctx, m.node.Path)
	if err != nil {
		return 0, err
	}
	if stat == nil {
		m.node = Node{}
		return 0, ErrGone
	}
	return stat.Mzxid, nil
}

// Remove deletes the ledger.
func (m *Ledger) Remove(ctx context.Context) error {
	if m.node.Path == "" {
		return nil
	}
	err := Remove(ctx, m.s, m.node)
	m.node = Node{}
	return err
}

func failed(err error) error {
	return &session.RequestError{Op: "txn", Outcome: session.Failed, Err: err}
}
