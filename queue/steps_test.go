package queue_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// If the context of a Claim ends between two of its steps, nothing stays claimed, and no znode of
// the handle remains after Close.
//
// Covers Q8.
func TestClaimCancelledBetweenTwoStepsLeavesNothing(t *testing.T) {
	recipetest.CancelBetweenSteps(t, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
		q := queue.New(s, path, queue.Options[string]{})
		if err := q.Put(context.Background(), "a"); err != nil {
			return nil, err
		}
		c, err := q.Claim(ctx)
		if err != nil {
			if err := q.Close(context.Background()); err != nil {
				t.Error(err)
			}
			return nil, err
		}
		return func(ctx context.Context) error {
			if err := c.Ack(ctx); err != nil {
				return err
			}
			return q.Close(ctx)
		}, nil
	})
}
