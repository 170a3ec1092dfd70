package lock_test

import (
	"context"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

// While the session is connected, its lease always has at least an eighth of the session timeout
// left. When the session is cut off, the deadline no longer changes, and the context ends at the
// deadline. A program that has to stop its child processes relies on these two properties.
func TestDeadlineIsRenewedAndThenKept(t *testing.T) {
	eachDo(t, func(t *testing.T, w *recipetest.World, do func(context.Context, *session.Session, func(context.Context, held) error) error, name string) {
		at := (w.Leader() + 1) % 3
		c := w.Client(w.On(at))
		_ = do(t.Context(), c.Session, func(_ context.Context, g held) error {
			<-time.After(recipetest.Timeout)
			least := time.Hour
			for range 1000 {
				<-time.After(recipetest.Timeout / 100)
				least = min(least, time.Until(g.Deadline()))
			}
			if want := recipetest.Timeout / 8; least < want {
				t.Errorf("%s: shortest time to the deadline: got %v, want at least %v", name, least, want)
			}
			w.Isolate(at)
			<-time.After(recipetest.Timeout / 10)
			last := g.Deadline()
			<-g.Context().Done()
			if late := time.Since(last); g.Deadline().After(last) || late < 0 || late > time.Millisecond {
				t.Errorf("%s: context ended %v after the deadline, want 0 to 1ms; deadline then moved by %v, want 0", name, late, g.Deadline().Sub(last))
			}
			return nil
		})
	})
}
