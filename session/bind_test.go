package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/zktest"
)

// When the call that ends the hold returns, all contexts bound to the hold have ended. No other
// goroutine has to run for that.
//
// Covers S2.
func TestBoundContextEndsWithTheHold(t *testing.T) {
	errOver := errors.New("over")
	for name, c := range map[string]struct {
		end  func(s *Session, h *hold)
		want error
	}{
		"End":   {func(_ *Session, h *hold) { h.End(errOver) }, errOver},
		"lapse": {func(s *Session, _ *hold) { s.keeper.look(time.Now().Add(time.Hour)) }, ErrLeaseLapsed},
		"loss":  {func(s *Session, _ *hold) { s.finish(ErrLost) }, ErrLost},
		"Close": {func(s *Session, _ *hold) { s.Close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
				s := open(t, on(e, follower(e)))
				defer s.Close()
				h := holding(t, s, 1)[0]
				must(t, h.Grant(t.Context()))
				caller, cancel := context.WithCancel(t.Context())
				defer cancel()
				bound, stop := context.WithCancel(h.Bind(caller))
				defer stop()
				var called error
				h.OnEnd(func(cause error) { called = cause })
				c.end(s, h)
				if got := context.Cause(bound); !errors.Is(got, c.want) || !errors.Is(called, c.want) || caller.Err() != nil {
					t.Errorf("cause: got %v of the bound context and %v in the call, want %v in both; the caller's context: got %v, want no error", got, called, c.want, caller.Err())
				}
			})
		})
	}
}

// Binding a context to a hold of an ended session returns an ended context.
func TestHoldOfAnEndedSessionBindsNothing(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e, follower(e)))
		s.Close()
		if got := context.Cause(s.keeper.begin(engine.Node{Path: "/h"}).Bind(t.Context())); !errors.Is(got, ErrClosed) {
			t.Errorf("cause: got %v, want %v", got, ErrClosed)
		}
	})
}
