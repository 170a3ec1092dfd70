// Package stored has grants in structs. Each struct is a case.
package stored

import (
	"context"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
)

type withoutContext struct {
	grant *lock.Grant // want `field grant has a grant, but neither its context nor its token is used: store the context of Bind with it`
}

func (w *withoutContext) lock(ctx context.Context, m *lock.Mutex) (err error) {
	w.grant, err = m.Lock(ctx)
	return err
}

func (w *withoutContext) close(ctx context.Context) {
	if w.grant != nil {
		w.grant.Unlock(ctx)
	}
}

type withContext struct {
	ctx   context.Context
	grant *lock.Grant
}

func (w *withContext) close(ctx context.Context) { w.grant.Unlock(ctx) }

type usesContext struct{ term *election.Term }

func (w *usesContext) done() <-chan struct{} { return w.term.Context().Done() }

type usesToken struct{ grant *lock.WriteGrant }

func (w *usesToken) token() lock.Token { return w.grant.Token() }

type passesIt struct{ claims, given *queue.Claim[int] }

func (w *passesIt) all() []*queue.Claim[int] { return []*queue.Claim[int]{w.claims, w.given} }

type generic[T any] struct {
	claim *queue.Claim[T] // want `field claim has a claim`
}

func (w *generic[T]) close(ctx context.Context) error { return nil }

type genericUsed[T any] struct{ claim *queue.Claim[T] }

func (w *genericUsed[T]) bind(ctx context.Context) context.Context { return w.claim.Bind(ctx) }

type forOthers struct{ Grant *lock.Grant }
