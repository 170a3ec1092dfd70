// Package work has work under locks, terms and claims. Each function is a case.
package work

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

func work(ctx context.Context, args ...any) error { return ctx.Err() }
func userOf(ctx context.Context) string           { return "" }

func userFromContext(ctx context.Context) (string, error) { return "", nil }
func hand(ctx context.Context, g *lock.Grant)             { work(g.Bind(ctx)) }

type job struct{}

func byHand(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return work(ctx) // want `work under grant uses ctx, which does not end when the grant is lost: use grant.Bind`
}

func byHandBound(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return work(ctx, err)
	}
	defer grant.Unlock(ctx)
	ctx = grant.Bind(ctx)
	return work(ctx)
}

func token(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return work(ctx, grant.Token()) // want `work under grant uses ctx`
}

func table(ctx context.Context, m *lock.RWMutex, t *fence.Table) error {
	grant, err := m.RLock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return t.Do(ctx, "invoices", fence.TokenOf(grant), func(ctx context.Context, tx *sql.Tx) error { // want `work under grant uses ctx`
		return work(ctx)
	})
}

func handedOver(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	hand(ctx, grant)
	return work(ctx) // no finding: the function `hand` may have released the grant
}

func afterUnlock(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	err = work(grant.Context())
	if err := grant.Unlock(ctx); err != nil {
		return err
	}
	return errors.Join(err, work(ctx))
}

func unlockedInOneBranch(ctx context.Context, m *lock.Mutex, early bool) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	if early {
		grant.Unlock(ctx)
		return work(ctx)
	}
	defer grant.Unlock(ctx)
	return work(ctx) // want `work under grant uses ctx`
}

func shorterWait(ctx context.Context, m *lock.Mutex) error {
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	grant, err := m.Lock(wait)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return work(ctx) // want `work under grant uses ctx`
}

func derived(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return work(short) // want `work under grant uses short`
}

func derivedFromBound(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	short, cancel := context.WithTimeout(grant.Bind(ctx), time.Second)
	defer cancel()
	return work(short)
}

func otherName(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	held := grant.Bind(ctx)
	if err := work(held); err != nil {
		return err
	}
	return work(ctx) // want `work under grant uses ctx`
}

func request(w http.ResponseWriter, r *http.Request, m *lock.Mutex) {
	grant, err := m.TryLock(r.Context())
	if errors.Is(err, lock.ErrLocked) {
		work(r.Context(), "busy")
		return
	}
	if err != nil {
		return
	}
	defer grant.Unlock(r.Context())
	work(r.Context()) // want `work under grant uses r.Context\(\)`
}

func requestBound(w http.ResponseWriter, r *http.Request, m *lock.Mutex) {
	grant, err := m.TryLock(r.Context())
	if err != nil {
		return
	}
	defer grant.Unlock(r.Context())
	work(grant.Bind(r.Context()))
}

func onlyIfHeld(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.TryLock(ctx)
	if err == nil {
		defer grant.Unlock(ctx)
		return work(ctx) // want `work under grant uses ctx`
	}
	return work(ctx, err)
}

func retries(ctx context.Context, m *lock.Mutex) (*lock.Grant, error) {
	for {
		grant, err := m.TryLock(ctx)
		if !errors.Is(err, lock.ErrLocked) {
			return grant, err
		}
		if err := work(ctx); err != nil {
			return nil, err
		}
	}
}

func leftByBreak(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	for {
		if work(grant.Bind(ctx)) != nil {
			_ = grant.Unlock(ctx)
			break
		}
	}
	return work(ctx)
}

func inAGoroutine(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return work(ctx) }) // want `work under grant uses ctx`
	return g.Wait()
}

func inAGroupBound(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	g, ctx := errgroup.WithContext(grant.Bind(ctx))
	g.Go(func() error { return work(ctx) })
	return g.Wait()
}

func valuesAndLogs(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	user, err := userFromContext(ctx)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "working", "user", user, "or", userOf(ctx), "token", grant.Token())
	return work(grant.Bind(ctx))
}

func cleanUp(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() {
		grant.Unlock(ctx)
		work(ctx, "metrics")
	}()
	return work(grant.Bind(ctx))
}

func meant(ctx context.Context, m *lock.Mutex) error {
	grant, err := m.Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	outlives := context.WithoutCancel(ctx)
	return work(outlives, grant.Token())
}

func two(ctx context.Context, a, b *lock.Mutex) error {
	first, err := a.Lock(ctx)
	if err != nil {
		return err
	}
	defer first.Unlock(ctx)
	second, err := b.Lock(ctx)
	if err != nil {
		return err
	}
	defer second.Unlock(ctx)
	return work(second.Bind(first.Bind(ctx)))
}

func twoOneBound(ctx context.Context, a, b *lock.Mutex) error {
	first, err := a.Lock(ctx)
	if err != nil {
		return err
	}
	defer first.Unlock(ctx)
	ctx = first.Bind(ctx)
	second, err := b.Lock(ctx)
	if err != nil {
		return err
	}
	defer second.Unlock(ctx)
	return work(ctx) // want `work under second uses ctx, which does not end when the grant is lost: use second.Bind`
}

func outerContext(outer context.Context, m *lock.Mutex) error {
	return m.Do(outer, func(ctx context.Context, g *lock.Grant) error {
		return work(outer, g.Token()) // want `work under g uses outer, which does not end when the grant is lost: use the context that is passed to the function`
	})
}

func noContext(ctx context.Context, m *lock.Semaphore) error {
	return m.Do(ctx, 2, func(context.Context, *lock.Grant) error {
		return work(ctx) // want `work under the grant uses ctx`
	})
}

func innerContext(ctx context.Context, m *lock.Multi) error {
	return m.Do(ctx, func(ctx context.Context, g *lock.MultiGrant) error { return work(ctx) })
}

func nestedDo(outer context.Context, a, b *lock.Mutex) error {
	return a.Do(outer, func(ctx context.Context, _ *lock.Grant) error {
		return b.Do(outer, func(ctx context.Context, _ *lock.Grant) error { // want `work under the grant uses outer`
			return work(ctx)
		})
	})
}

func nestedDoBound(ctx context.Context, a, b *lock.Mutex) error {
	return a.Do(ctx, func(ctx context.Context, _ *lock.Grant) error {
		return b.Do(ctx, func(ctx context.Context, _ *lock.Grant) error { return work(ctx) })
	})
}

func leader(outer context.Context, o session.Options) error {
	return election.Run(outer, o, "/leader", election.Options{}, func(ctx context.Context, t *election.Term) error {
		return work(outer, t.Epoch()) // want `work under t uses outer, which does not end when the term is lost`
	})
}

func campaign(ctx context.Context, e *election.Election) error {
	term, err := e.Campaign(ctx)
	if err != nil {
		return err
	}
	defer term.Resign(ctx)
	return work(ctx, term.Epoch()) // want `work under term uses ctx, which does not end when the term is lost: use term.Bind`
}

func consume(outer context.Context, q *queue.Queue[job]) error {
	return q.Do(outer, func(ctx context.Context, c *queue.Claim[job]) error {
		return work(outer, c.Value()) // want `work under c uses outer, which does not end when the claim is lost`
	})
}

func loop(ctx context.Context, q *queue.Queue[job]) error {
	for claim, err := range q.Claims(ctx) {
		if err != nil {
			return work(ctx, err)
		}
		if err := work(ctx, claim.Value()); err != nil { // want `work under claim uses ctx, which does not end when the claim is lost: use claim.Bind`
			claim.Release(ctx)
			continue
		}
		if err := claim.Ack(ctx); err != nil {
			return err
		}
	}
	return nil
}

func loopBound(ctx context.Context, q *queue.Queue[job]) error {
	for claim, err := range q.Claims(ctx) {
		if err != nil {
			return err
		}
		if err := work(claim.Bind(ctx), claim.Value()); err != nil {
			return claim.Reject(ctx)
		}
		if err := claim.Ack(ctx); err != nil {
			return err
		}
	}
	return work(ctx)
}

func kept(ctx context.Context, m *lock.Mutex) (func() error, error) {
	grant, err := m.Lock(ctx)
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(work(ctx), grant.Unlock(ctx)) }, nil // no finding: the function may run when nothing is held
}

func wrapped(ctx context.Context, lock func(ctx context.Context) (context.Context, *lock.Grant, error)) error {
	held, grant, err := lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	if err := work(held); err != nil {
		return err
	}
	return work(ctx) // want `work under grant uses ctx`
}
