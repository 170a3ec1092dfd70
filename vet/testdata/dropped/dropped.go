// Package dropped has releases whose errors are dropped. Each function is a case.
package dropped

import (
	"context"
	"errors"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
)

func work(ctx context.Context, args ...any) error { return ctx.Err() }

func unlock(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	err = work(grant.Bind(ctx))
	grant.Unlock(ctx) // want `the error of grant.Unlock is dropped: it says whether the grant was lost before, and the token is not used`
	return err
}

func resign(ctx context.Context, e *election.Election) error {
	term, err := e.Campaign(ctx)
	if err != nil {
		return err
	}
	work(term.Bind(ctx))
	term.Resign(ctx) // want `the error of term.Resign is dropped`
	return nil
}

func deferred(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return work(grant.Bind(ctx))
}

func withToken(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	err = work(grant.Bind(ctx), grant.Token())
	grant.Unlock(ctx)
	return err
}

func onAnError(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	if err := work(grant.Bind(ctx)); err != nil {
		grant.Unlock(ctx)
		return err
	}
	return grant.Unlock(ctx)
}

func withAnotherError(ctx context.Context, m *lock.Mutex, full bool) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	if full {
		grant.Unlock(ctx)
		return errors.New("full")
	}
	return errors.Join(work(grant.Bind(ctx)), grant.Unlock(ctx))
}

func explicitly(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	err = work(grant.Bind(ctx))
	_ = grant.Unlock(ctx)
	return err
}

func noError(ctx context.Context, m *lock.Mutex) {
	grant, err := m.Lock(ctx)
	if err != nil {
		return
	}
	work(grant.Bind(ctx))
	grant.Unlock(ctx)
}

func ack(ctx context.Context, q *queue.Queue[int]) {
	for claim, err := range q.Claims(ctx) {
		if err == nil && work(claim.Bind(ctx), claim.Value()) == nil {
			claim.Ack(ctx) // want `the error of claim.Ack is dropped: it says whether the claim was lost before`
		}
	}
}

func ackDeferred(ctx context.Context, q *queue.Queue[int]) error {
	claim, err := q.Claim(ctx)
	if err != nil {
		return err
	}
	defer claim.Ack(ctx) // want `the error of claim.Ack is dropped`
	return work(claim.Bind(ctx), claim.Value())
}

func giveBack(ctx context.Context, q *queue.Queue[int]) error {
	claim, err := q.Claim(ctx)
	if err != nil {
		return err
	}
	if err := work(claim.Bind(ctx), claim.Value()); err != nil {
		claim.Release(ctx)
		return err
	}
	return claim.Ack(ctx)
}
