package election_test

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
)

func TestDeadlineIsWhenTheTermEnds(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		at := (w.Leader() + 1) % 3
		c := w.Client(w.On(at))
		term := recipetest.Must(election.New(c.Session, "/e", election.Options{}).Campaign(t.Context()))
		<-time.After(recipetest.Timeout)
		w.Isolate(at)
		<-time.After(recipetest.Timeout / 10)
		deadline := term.Deadline()
		<-term.Context().Done()
		if late := time.Since(deadline); late < 0 || late > time.Millisecond {
			t.Errorf("context ended %v after the deadline, want 0 to 1ms", late)
		}
	})
}
