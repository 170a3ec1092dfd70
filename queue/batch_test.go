package queue

import (
	"context"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
)

// The last claim of a closed queue ended while the group looked whether it had:
// the mark stayed for as long as the session lived.
//
// Covers Q8.
func TestTidyAgainWhileTidying(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		tidied := 0
		g := &batcher[int]{s: w.Client().Session}
		g.tidy = func(context.Context) error {
			if tidied++; tidied == 1 {
				g.again()
			}
			return nil
		}
		recipetest.Check(t, g.close(t.Context(), false))
		if tidied != 2 {
			t.Errorf("tidied %d times", tidied)
		}
	})
}
