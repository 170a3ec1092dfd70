package recipe

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/session"
)

// ErrGone means that another client deleted or set the ledger's znode. If Try returns it, nothing
// was applied.
var ErrGone = errors.New("recipe: ledger znode deleted by another client")

// A Ledger applies transactions of one owner at most once, however often the connection is lost. It
// is an ephemeral znode whose version counts the transactions. The first transaction creates the
// znode. A Ledger is not safe for concurrent use.
//
// Other clients may delete what a transaction made. For example, a consumer deletes the item that a
// producer has put. The missing item then does not show whether the producer's transaction was
// applied. So every transaction has one more op: it sets the ledger's znode if the znode still has
// the expected version. If a transaction that was applied is sent again, this op fails, and nothing
// is applied a second time.
//
// Other clients may delete the ledger's znode, but only the owner may set it. Suppose that the
// connection is lost before a transaction reaches a server, and another client then sets the znode.
// The owner then mistakes that write for its own, and reports the transaction as applied although
// it was not.
type Ledger struct {
	s    *session.Session
	dir  string
	kind string

	node  Node  // Path is "" before the znode exists
	count int32 // transactions applied so far
}

// NewLedger returns a ledger whose znode will be created in dir. It sends no request.
func NewLedger(s *session.Session, dir, kind string) *Ledger {
	return &Ledger{s: s, dir: dir, kind: kind}
}

// Do applies ops in one transaction, at most once. If the transaction was applied but its reply was
// lost, the results have their zero values. If the error contains a *session.MultiError, its index
// refers to ops, and nothing was applied. An error that concerns the ledger's own znode contains no
// MultiError.
//
// The error is Indeterminate only in these cases:
//
//   - ctx or the session ended during the call.
//   - Another client deleted the ledger's znode.
//   - A server answered with an error that does not show whether the transaction was applied.
//   - A server refused the transaction after an earlier reply was lost.
//
// After an Indeterminate error, the ledger no longer uses its znode: the znode remains until the
// session ends, and the next transaction creates a new one.
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

// Try is like Do, but requires that Make or an earlier call has created the ledger's znode. It is
// for ops that depend on data that was read after this creation. If another client has deleted or
// set the ledger's znode, Try fails with ErrGone, whereas Do would create a new znode. The reason
// is that the other client may also have deleted or replaced the data.
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
			return nil, m.failed(&session.MultiError{Index: part.Index - 1, Path: part.Path, Err: part.Err})
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

// giveUp returns the error of a transaction that is not sent again. If `unsure` is true, the
// transaction may have been applied. Then the version of the ledger's znode is unknown, so the
// ledger discards this znode.
func (m *Ledger) giveUp(err error, unsure bool) error {
	err = ofLedger(err)
	if !unsure {
		return m.failed(err)
	}
	m.node = Node{}
	return requestError("txn", m.dir, session.Indeterminate, err)
}

// ofLedger removes the index of the op from an error of the ledger itself. Otherwise the caller
// would take this index for an index into its own ops.
func ofLedger(err error) error {
	if part := (*session.MultiError)(nil); errors.As(err, &part) {
		return &session.RequestError{Op: "set ledger", Path: part.Path, Outcome: session.OutcomeOf(err), Err: part.Err}
	}
	return err
}

// Make creates the ledger's znode unless the ledger already uses one. Like Made, it does not notice
// that another client has deleted that znode.
func (m *Ledger) Make(ctx context.Context) (err error) {
	if m.node.Path != "" {
		return nil
	}
	m.node, err = CreateProtected(ctx, m.s, m.dir, m.kind, nil, session.EphemeralSequential)
	m.count = 0
	return err
}

// Made reports whether the ledger has created a znode that it still uses. It sends no request, so
// it does not notice that another client has deleted the znode.
func (m *Ledger) Made() bool { return m.node.Path != "" }

// Path returns the path of the ledger's znode, or "" if there is none.
func (m *Ledger) Path() string { return m.node.Path }

// Zxid returns the zxid of the last applied transaction, which is the czxid of the znodes that the
// transaction created. If another client has deleted the ledger's znode meanwhile, Zxid fails with
// ErrGone.
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

// Remove deletes the ledger's znode. After an error the ledger still has the znode, and Remove can
// be called again.
func (m *Ledger) Remove(ctx context.Context) error {
	if m.node.Path == "" {
		return nil
	}
	err := Remove(ctx, m.s, m.node)
	if err == nil {
		m.node = Node{}
	}
	return err
}

// The method `failed` returns the error of a transaction that was not applied.
func (m *Ledger) failed(err error) error {
	return requestError("txn", m.dir, session.Failed, err)
}
