package batch

import (
	"context"
	"errors"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
)

// If Again is called while Tidy runs, Tidy runs once more. Regression: if the last claim of a
// closed queue ended while Tidy checked for claims, Tidy did not run once more, and the ledger
// znode remained until the session ended.
//
// Covers Q8.
func TestTidyAgainWhileTidying(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		tidied := 0
		g := &Batcher[int]{Session: w.Client().Session}
		g.Tidy = func(context.Context) error {
			if tidied++; tidied == 1 {
				g.Again()
			}
			return nil
		}
		recipetest.Check(t, g.Close(t.Context(), errors.New("closed")))
		if tidied != 2 {
			t.Errorf("tidy ran %d times, want 2", tidied)
		}
	})
}
