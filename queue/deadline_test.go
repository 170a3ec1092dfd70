package queue_test

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
)

// The context of a claim ends at the time that Deadline returns: when the claim has lasted for
// ClaimFor or when the lease lapses, whichever is earlier.
func TestDeadlineIsTheSooner(t *testing.T) {
	for _, lasts := range []time.Duration{0, time.Second, time.Hour} {
		recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
			at := (w.Leader() + 1) % 3
			c := w.Client(w.On(at))
			q := queue.New(c.Session, "/q", queue.Options[string]{ClaimFor: lasts})
			recipetest.Check(t, q.Put(t.Context(), "a"))
			claim := recipetest.Must(q.Claim(t.Context()))
			<-time.After(lasts / 3600)
			w.Isolate(at)
			<-time.After(recipetest.Timeout / 12)
			deadline := claim.Deadline()
			<-claim.Context().Done()
			if late := time.Since(deadline); late < 0 || late > time.Millisecond {
				t.Errorf("ClaimFor %v: the context ended %v after the deadline, want 0 to 1ms", lasts, late)
			}
		})
	}
}
