package batch

import (
	"context"
	"errors"
	"testing"

	"github.com/zkcoord/zkcoord/internal/recipetest"
)

// The last claim of a closed queue ended while the batcher looked whether it had:
// the mark stayed for as long as the session lived.
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
			t.Errorf("tidied %d times", tidied)
		}
	})
}
