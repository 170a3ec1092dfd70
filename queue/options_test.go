package queue_test

import (
	"math"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
)

// With 1e9 priorities no call returned: a take looks at each of them.
func TestNumbersThatCannotBeMeantAreRefused(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		for name, o := range map[string]queue.Options[int]{
			"priorities": {Priorities: 1e9}, "negative priorities": {Priorities: -1}, "limit": {Limit: math.MinInt},
			"prefetch": {Prefetch: -1}, "attempts": {MaxAttempts: -1}, "claim": {ClaimFor: -1},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: accepted", name)
					}
				}()
				queue.New(c.Session, "/q", o)
			}()
		}
		queue.New(c.Session, "/q", queue.Options[int]{Priorities: 1000})
	})
}
