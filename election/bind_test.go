package election_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/election"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

type requestID struct{}

// The context of Term.Bind is derived from the caller's context, and also ends when the term ends.
//
// Covers E10.
func TestLeaderWorksUnderItsCallersContext(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		errDown := errors.New("going down")
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), requestID{}, 7))
		term := now(t, campaign(w.Client(), ctx, "a"))
		leading := term.Bind(ctx)
		derived, stop := context.WithCancel(term.Bind(t.Context()))
		defer stop()
		cancel(errDown)
		if context.Cause(leading) != errDown || leading.Value(requestID{}) != 7 || derived.Err() != nil {
			t.Errorf("cause of the bound context: got %v, want %v; value: got %v, want 7; other context: got %v, want it alive", context.Cause(leading), errDown, leading.Value(requestID{}), derived.Err())
		}
		ok(t, w.Admin().Delete(t.Context(), term.Path(), session.AnyVersion))
		<-term.Context().Done()
		synctest.Wait()
		if got := context.Cause(derived); !errors.Is(got, session.ErrRevoked) {
			t.Errorf("cause after a deletion: got %v, want %v", got, session.ErrRevoked)
		}

		next := now(t, campaign(w.Client(), t.Context(), "b"))
		leading = next.Bind(t.Context())
		ok(t, next.Resign(leading)) // waits for the answer, although its context ends with the term
		if got := context.Cause(leading); !errors.Is(got, election.ErrResigned) {
			t.Errorf("cause after Resign: got %v, want %v", got, election.ErrResigned)
		}
	})
}

// A leader that panics resigns.
//
// Covers E10.
func TestPanickingLeaderResigns(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		func() {
			defer func() {
				if got := recover(); got != "broken" {
					t.Errorf("recovered: got %v, want %q", got, "broken")
				}
			}()
			_ = election.New(c.Session, path, election.Options{}).Run(t.Context(), func(context.Context, *election.Term) error { panic("broken") })
		}()
		ok(t, now(t, campaign(w.Client(), t.Context(), "b")).Resign(t.Context()))
		w.NothingLeft()
	})
}

// A deferred term.Resign(ctx) resigns, no matter how ctx ended.
//
// Covers E11.
func TestResignWithAnEndedContextResigns(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		term := now(t, campaign(w.Client(), t.Context(), "a"))
		next := campaign(w.Client(), t.Context(), "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		<-ctx.Done()
		cancel()
		if err := term.Resign(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Resign: got %v, want %v", err, context.DeadlineExceeded)
		}
		ok(t, now(t, next).Resign(t.Context()))
		w.NothingLeft()
	})
}
