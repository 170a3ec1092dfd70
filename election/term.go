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
	ctx   context.Context // the claim's, and which term it is

	mu    sync.Mutex
	value []byte
}

// Context ends when the candidate no longer leads for certain, before anybody
// else can be elected. context.Cause tells why: ErrResigned,
// session.ErrLeaseLapsed, session.ErrRevoked, session.ErrLost or
// session.ErrClosed. It has neither the end nor the values of the context that
// Campaign was called with: lead under the context of Run or Bind, which has both.
func (t *Term) Context() context.Context { return t.ctx }

// Deadline is when Context ends if no server is heard from. The session makes it
// later several times in each session timeout. Once Context has ended it says
// nothing: the session may renew its lease for others.
func (t *Term) Deadline() time.Time { return t.claim.Deadline() }

// Epoch is the number of the term.
func (t *Term) Epoch() Epoch { return Epoch(t.claim.Token()) }

// Path is the path of the leader's own node.
func (t *Term) Path() string { return t.claim.Node().Path }

// Value is what observers are shown: Options.Label, or what Proclaim was given last.
func (t *Term) Value() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.value)
}

// Proclaim changes the value. It is a transaction like Txn, and fails like it.
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

// Txn applies ops in one transaction, which fails unless the term still stands
// when the servers carry it out: no other leader can have written before it.
// The answer is true also after a lost reply; then the results of the ops are
// zero. After an error, session.OutcomeOf tells whether it was applied; it is
// Indeterminate only if ctx or the session ended on the way.
func (t *Term) Txn(ctx context.Context, ops ...session.Op) ([]session.OpResult, error) {
	results, err := t.claim.Txn(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("election: transaction under %s: %w", t.Path(), err)
	}
	return results, nil
}

// Resign ends the term: the context ends, then the node is deleted. If the
// term had ended before, the error is the cause.
//
// ctx bounds the wait for the servers' answer, not the resignation. If it has
// ended, or ends before the answer, the error is its cause, and the session goes
// on deleting the node until it is gone: so defer term.Resign(ctx) resigns however
// ctx ended.
func (t *Term) Resign(ctx context.Context) error {
	if err := t.claim.Leave(ctx, ErrResigned); err != nil {
		return fmt.Errorf("election: resign %s: %w", t.Path(), err)
	}
	return nil
}

// run calls f for the term, and reports whether Election.Run is over.
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
		return true, context.Cause(t.Context()) // the next term would end likewise
	case ended || errors.Is(err, ErrAgain):
		return false, nil
	}
	return true, err
}

// termKey is the key under which a context has the terms that it is for.
type termKey struct{}

// terms is a list of terms: that of a context, and those of the context in which
// it was campaigned for.
type terms struct {
	*Term
	more *terms
}

// leading returns ctx with t, and with the terms that the context has that t was
// campaigned for in.
func (t *Term) leading(ctx, campaign context.Context) context.Context {
	more, _ := campaign.Value(termKey{}).(*terms)
	return context.WithValue(ctx, termKey{}, &terms{t, more})
}

// leads reports whether ctx is that of a term of the election at path in s, which
// has not ended: ctx may outlive it.
func leads(ctx context.Context, s *session.Session, path string) bool {
	t, _ := ctx.Value(termKey{}).(*terms)
	for ; t != nil; t = t.more {
		if dir, _ := znode.Split(t.Path()); t.claim.Session() == s && dir == path && t.claim.Context().Err() == nil {
			return true
		}
	}
	return false
}
