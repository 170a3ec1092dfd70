// Package unused has grants and terms that are held and not used. Each function is a case.
package unused

import (
	"context"
	"os"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
)

func write() { os.WriteFile("invoices", nil, 0o644) }

func neither(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx) // want `neither the context nor the token of grant is used: the program cannot detect the loss of the grant`
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	write()
	return nil
}

func onlyDescribed(ctx context.Context, m *lock.Mutex) string {
	grant, err := m.Lock(ctx) // want `neither the context nor the token of grant is used`
	if err != nil || grant == nil {
		return ""
	}
	write()
	_ = grant.Unlock(ctx)
	return grant.Path()
}

func errorOfUnlock(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	write()
	return grant.Unlock(ctx) // the error says whether the grant was lost
}

func tokenOfIt(ctx context.Context, m *lock.Mutex, gate *fence.Gate) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	gate.Raise(fence.TokenOf(grant))
	write()
	return nil
}

func watched(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	select {
	case <-grant.Context().Done():
	case <-time.After(time.Second):
	}
	return nil
}

func inATransaction(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	_, err = grant.Txn(ctx)
	return err
}

func returned(ctx context.Context, m *lock.Mutex) (*lock.Grant, error) {
	grant, err := m.Lock(ctx)
	if err != nil {
		return nil, err
	}
	write()
	return grant, nil
}

func dropped(ctx context.Context, m *lock.Mutex) error {
	_, err := m.Lock(ctx) // want `the grant is dropped: the program cannot detect its loss and cannot release it`
	write()
	return err
}

func inDo(ctx context.Context, m *lock.Mutex) error {
	return m.Do(ctx, func(_ context.Context, g *lock.Grant) error { // want `neither the context nor the token of g is used`
		write()
		return nil
	})
}

func inDoWithContext(ctx context.Context, m *lock.Mutex) error {
	return m.Do(ctx, func(ctx context.Context, _ *lock.Grant) error {
		write()
		return ctx.Err()
	})
}

func nothingToDo(ctx context.Context, m *lock.Mutex) error {
	return m.Do(ctx, func(context.Context, *lock.Grant) error { return nil })
}

func unusedTerm(ctx context.Context, e *election.Election) error {
	return e.Run(ctx, func(context.Context, *election.Term) error { // want `neither the context nor the token of the term is used: the program cannot detect the loss of the term`
		for {
			write()
		}
	})
}

func acked(ctx context.Context, q *queue.Queue[int]) (int, error) {
	claim, err := q.Claim(ctx)
	if err != nil {
		return 0, err
	}
	return claim.Value(), claim.Ack(ctx) // fails if the claim was lost
}
