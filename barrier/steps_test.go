package barrier_test

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/barrier"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// If the context of Enter ends between two of its steps, no znode remains: the request that creates
// the member's znode is not sent after the request that deletes the znode.
//
// Covers D6.
func TestEnterCancelledBetweenTwoStepsLeavesNothing(t *testing.T) {
	recipetest.CancelBetweenSteps(t, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
		r, err := barrier.NewDouble(s, path, 1).Enter(ctx)
		if err != nil {
			return nil, err
		}
		return r.Leave, nil
	})
}
