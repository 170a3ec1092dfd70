package queue

import (
	"context"
	"errors"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// When a call that ends a claim's hold returns, the contexts that are bound to the claim have
// already ended. No other goroutine has to run in between.
//
// Covers Q7, Q14.
func TestBoundContextEndsWithTheHold(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		q := New(w.Client().Session, "/q", Options[int]{})
		const claims = 100
		for i := range claims {
			recipetest.Check(t, q.Put(t.Context(), i))
		}
		for range claims {
			c := recipetest.Must(q.Claim(t.Context()))
			ctx, cancel := context.WithCancel(c.Bind(t.Context()))
			c.hold.End(session.ErrLeaseLapsed)
			if got := context.Cause(ctx); !errors.Is(got, session.ErrLeaseLapsed) || !errors.Is(context.Cause(c.Context()), session.ErrLeaseLapsed) {
				t.Fatalf("cause of the bound context: got %v; of the claim: got %v; want %v", got, context.Cause(c.Context()), session.ErrLeaseLapsed)
			}
			cancel()
		}
	})
}
