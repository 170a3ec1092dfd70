package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/lockqueue"
	"github.com/zkcoord/zkcoord/internal/under"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

// A Term is the time for which one candidate leads.
type Term struct {
	claim *lockqueue.Place
	ctx   context.Context // the context of the field `claim`, with the list of terms

	mu    sync.Mutex
	value []byte
}

// Context returns a context that ends when it is no longer certain that the candidate leads, before
// any other candidate can be elected. context.Cause returns the reason, which is or wraps
// ErrResigned, session.ErrLeaseLapsed, session.ErrRevoked, session.ErrUnreadable, session.ErrLost
// or session.ErrClosed.
//
// The returned context does not end with the context that was passed to Campaign, and does not have
// the values of that context. For the work, use the context of Run or Bind, which is derived from
// the caller's context.
func (t *Term) Context() context.Context { return t.ctx }

// Deadline returns the time at which Context ends if no server answers until then. While servers
// answer, the session extends the deadline several times in each session timeout. After Context has
// ended, the result of Deadline has no meaning, because the session may renew its lease for other
// grants.
func (t *Term) Deadline() time.Time { return t.claim.Deadline() }

// Epoch returns the number of the term.
func (t *Term) Epoch() Epoch { return Epoch(t.claim.Token()) }

// Path returns the path of the leader's own znode.
func (t *Term) Path() string { return t.claim.Node().Path }

// Value returns the value that observers see: Options.Label, or the last value of Proclaim.
func (t *Term) Value() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.value)
}

// Proclaim changes the value that observers see. It is a transaction like Txn, and fails like Txn.
func (t *Term) Proclaim(ctx context.Context, value []byte) error {
	value = slices.Clone(value)
	proclaimed := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.value = value
	}
	_, err := t.claim.TxnThen(ctx, proclaimed, session.SetOp{Path: t.Path(), Data: value, Version: session.AnyVersion})
	if err != nil {
		return fmt.Errorf("election: proclaim at %s: %w", t.Path(), err)
	}
	return nil
}

// Txn applies ops in one transaction. The transaction fails unless the term still lasts when the
// servers execute it, so no later leader can have written before the transaction. The returned
// error is truthful even after a lost reply, but in that case the results of the ops are zero.
// After an error, session.OutcomeOf reports whether the transaction was applied. The outcome is
// Indeterminate only in these cases:
//
//   - ctx or the session ended during the call.
//   - Another client deleted the leader's znode.
//   - A reply was lost, and a server then refused for good to show whether the ops were applied.
func (t *Term) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	results, err := t.claim.Txn(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("election: transaction under %s: %w", t.Path(), err)
	}
	return results, nil
}

// Resign ends the term: the context ends, and then the znode is deleted. If the term had already
// ended, the error wraps the cause with which the term ended.
//
// ctx limits the wait for the servers' answer, but not the resignation. If ctx has ended, or ends
// before the answer, the error is the cause of ctx, and the session continues to delete the znode
// until it is gone. Therefore the statement `defer term.Resign(ctx)` resigns, no matter how ctx
// ended.
func (t *Term) Resign(ctx context.Context) error {
	if err := t.claim.Leave(ctx, ErrResigned); err != nil {
		return fmt.Errorf("election: resign %s: %w", t.Path(), err)
	}
	return nil
}

// run calls f for the term. It reports whether Election.Run must return.
func (t *Term) run(ctx context.Context, f func(context.Context, *Term) error) (over bool, err error) {
	ended := false
	err = under.Do(ctx, under.Work{
		Held:     t,
		Name:     "election: lost " + t.Path(),
		Released: ErrResigned,
		Release:  func(ctx context.Context, _ error) error { return t.Resign(ctx) },
	}, func(ctx context.Context) error {
		err := f(ctx, t)
		ended = t.Context().Err() != nil
		return err
	})
	switch {
	case ctx.Err() != nil && err == nil:
		return true, context.Cause(ctx)
	case ctx.Err() != nil:
		return true, err
	case errors.Is(context.Cause(t.Context()), session.ErrUnreadable):
		return true, context.Cause(t.Context()) // the next term would end in the same way
	case ended || errors.Is(err, ErrAgain):
		return false, nil
	}
	return true, err
}

// termKey is the context key for the list of terms.
type termKey struct{}

// The type `terms` is an entry in a linked list of terms. Campaign and Bind store such a list in
// the context of a term: first the term itself, then the list of the context that was passed to
// Campaign or Bind.
type terms struct {
	*Term
	more *terms
}

// The method `leading` returns ctx with a list of terms: t, followed by the terms of the context
// `campaign`.
func (t *Term) leading(ctx, campaign context.Context) context.Context {
	more, _ := campaign.Value(termKey{}).(*terms)
	return context.WithValue(ctx, termKey{}, &terms{t, more})
}

// The function `leads` reports whether ctx belongs to a term of the election at path in s. A
// context can outlive a term and still list the term, but a term that has ended does not count.
func leads(ctx context.Context, s *session.Session, path string) bool {
	t, _ := ctx.Value(termKey{}).(*terms)
	for ; t != nil; t = t.more {
		if dir, _ := znode.Split(t.Path()); t.claim.Session() == s && dir == path && t.claim.Context().Err() == nil {
			return true
		}
	}
	return false
}
