package turn

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestOneCallAtATime(t *testing.T) {
	turn, running, n := new(Turn), 0, 0
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if err := turn.Take(t.Context(), t.Context()); err != nil {
				t.Errorf("Take: got %v, want nil", err)
				return
			}
			defer turn.End()
			if running++; running != 1 {
				t.Errorf("%d calls hold the turn at once, want 1", running)
			}
			n++
			running--
		})
	}
	calls.Wait()
	if n != 50 {
		t.Errorf("%d calls had the turn, want 50", n)
	}
}

func TestTakeEndsWithEitherContext(t *testing.T) {
	turn, gone := new(Turn), errors.New("gone")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	for range 20 { // the turn is free, so a random choice would sometimes take it
		if err := turn.Take(ended, t.Context()); !errors.Is(err, gone) {
			t.Fatalf("the context has ended: got %v, want %v", err, gone)
		}
	}
	if err := turn.Take(t.Context(), t.Context()); err != nil {
		t.Fatalf("Take of a free turn: got %v, want nil", err)
	}
	if err := turn.Take(t.Context(), ended); !errors.Is(err, gone) {
		t.Errorf("the other context has ended: got %v, want %v", err, gone)
	}
	turn.End()
}
