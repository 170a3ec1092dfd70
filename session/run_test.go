package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// If credentials are refused, Run returns ErrCredentials, because they would be refused in the next
// session too. Regression: Run retried forever and reported nothing.
//
// Covers S5.
func TestRefusedCredentialsEndRun(t *testing.T) {
	work := errors.New("work went wrong")
	for name, f := range map[string]func(ctx context.Context, s *Session) error{
		"waits":        func(ctx context.Context, _ *Session) error { <-ctx.Done(); return ctx.Err() },
		"asks":         func(ctx context.Context, s *Session) error { _, err := s.Get(ctx, "/"); <-ctx.Done(); return err },
		"says nothing": func(ctx context.Context, _ *Session) error { <-ctx.Done(); return nil },
		"its own":      func(ctx context.Context, _ *Session) error { <-ctx.Done(); return work },
	} {
		inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
			opts := on(e)
			opts.Auth = []Auth{{"nosuch", []byte("x")}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			called := false // remains false if the refusal comes before Open has returned
			err := Run(ctx, opts, func(ctx context.Context, s *Session) error { called = true; return f(ctx, s) })
			if ctx.Err() != nil || !errors.Is(err, ErrCredentials) || !errors.Is(err, ErrLost) || errors.Is(err, work) != (called && name == "its own") {
				t.Errorf("%s: Run: got %v, want %v, with the error of the work if it ran (%v)", name, err, ErrCredentials, called)
			}
		})
	}
}

// Open returns even if a server ends the session before Open has started the session's goroutines.
// Regression: nothing closed the client, and Open never returned.
func TestOpenReturnsIfTheSessionHasAlreadyEnded(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		opts := on(e)
		must(t, opts.complete())
		s := assemble(opts)
		events, err := connect(s)
		must(t, err)
		s.finish(ErrCredentials)
		if _, err := s.begin(t.Context(), events); !errors.Is(err, ErrCredentials) {
			t.Errorf("got %v, want %v", err, ErrCredentials)
		}
	})
}

// A server that requires SASL says so and closes the session. Run does not open another session,
// because the server would close it too.
func TestDemandForSASLEndsRun(t *testing.T) {
	sc := &script{
		connect: func(_ int, r wire.ConnectRequest) *wire.ConnectResponse {
			if r.SessionID != 0 {
				return &wire.ConnectResponse{Password: make([]byte, 16)} // the session has been closed
			}
			return fresh(r)
		},
		reply: func(_ int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
			if h.Op == wire.OpGetData {
				return wire.SessionClosedRequireSASL, true
			}
			return wire.OK, true
		},
	}
	scripted(t, sc, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := Run(ctx, sc.options(), func(ctx context.Context, s *Session) error {
			s.Get(ctx, "/")
			c := s.current()
			c.Close() // a real server closes the connection
			<-ctx.Done()
			return ctx.Err()
		})
		if ctx.Err() != nil || !errors.Is(err, ErrCredentials) || !errors.Is(err, ErrAuthRequired) {
			t.Errorf("Run: got %v with the context %v, want %v and %v with nil",
				err, ctx.Err(), ErrCredentials, ErrAuthRequired)
		}
	})
}

// If ctx ends, Run's error contains the reason of the last failure, whatever Run was doing.
func TestRunSaysTheLastReasonWhenItsContextEnds(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		why := errors.New("stop")
		for i := range 40 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second+time.Duration(i)*37*time.Millisecond, why)
			err := Run(ctx, on(e), func(ctx context.Context, s *Session) error {
				must(t, e.Expire(s.ID()))
				<-ctx.Done()
				return fmt.Errorf("at work: %w", ctx.Err())
			})
			cancel()
			if !errors.Is(err, why) || !errors.Is(err, ErrLost) {
				t.Errorf("run %d: Run: got %v, want %v with %v", i, err, why, ErrLost)
			}
		}
	})
}
