package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// A call whose context has already ended sends no request.
//
// Covers Q8.
func TestCallWithAnEndedContextMakesNoRequest(t *testing.T) {
	with := func(call func(context.Context, *queue.Queue[string]) error) func(context.Context, *session.Session) error {
		return func(ctx context.Context, s *session.Session) error {
			q := queue.New(s, "/a/b/q", queue.Options[string]{Codec: queue.JSON[string](), Limit: 10, Priorities: 2})
			return call(ctx, q)
		}
	}
	recipetest.EndedContextSendsNothing(t, map[string]func(context.Context, *session.Session) error{
		"Put":         with(func(ctx context.Context, q *queue.Queue[string]) error { return q.Put(ctx, "a") }),
		"TryPut":      with(func(ctx context.Context, q *queue.Queue[string]) error { return q.TryPut(ctx, "a") }),
		"PutAt":       with(func(ctx context.Context, q *queue.Queue[string]) error { return q.PutAt(ctx, time.Now(), "a") }),
		"PutPriority": with(func(ctx context.Context, q *queue.Queue[string]) error { return q.PutPriority(ctx, 1, "a") }),
		"Take":        with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Take(ctx); return err }),
		"TakeBatch":   with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.TakeBatch(ctx, 2); return err }),
		"TryTake":     with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.TryTake(ctx); return err }),
		"Claim":       with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Claim(ctx); return err }),
		"ClaimBatch":  with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.ClaimBatch(ctx, 2); return err }),
		"Peek":        with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Peek(ctx); return err }),
		"Len":         with(func(ctx context.Context, q *queue.Queue[string]) error { _, err := q.Len(ctx); return err }),
	})
}
