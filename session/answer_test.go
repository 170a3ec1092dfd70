package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// Each error code of a server is reported as a named error with an outcome, even if go-zookeeper
// does not know the code. Regression: a refusal because of a quota or a busy server was reported as
// "unknown error: -125" with an unknown outcome.
//
// Covers S4.
func TestAnswersHaveNamesAndAnOutcome(t *testing.T) {
	for _, test := range []struct {
		code      wire.Code
		want      error
		effect    Outcome
		transient bool
	}{
		{wire.QuotaExceeded, ErrQuota, Failed, false},
		{wire.ThrottledOp, ErrThrottled, Failed, true},
		{wire.NotReadOnly, ErrReadOnly, Failed, true},
		{wire.Unimplemented, ErrUnimplemented, Failed, false},
		{wire.SessionClosedRequireSASL, ErrAuthRequired, Failed, false},
		{wire.EphemeralOnLocalSession, wire.EphemeralOnLocalSession, Failed, false},
		{wire.ReconfigInProgress, wire.ReconfigInProgress, Failed, false},
		{wire.NoAuth, zk.ErrNoAuth, Failed, false},
		{wire.RequestTimeout, ErrUnknown, Indeterminate, true},
		{wire.MarshallingError, ErrUnknown, Indeterminate, true},
		{wire.SystemError, ErrUnknown, Indeterminate, true},
		{-7777, ErrUnknown, Indeterminate, true},
	} {
		sc := &script{part: test.code}
		sc.reply = func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
			if h.Op == wire.OpCreate {
				return test.code, true
			}
			return wire.OK, true
		}
		scripted(t, sc, func(t *testing.T) {
			s := open(t, sc.options())
			_, err := s.Create(t.Context(), "/x", nil, Persistent)
			if !errors.Is(err, test.want) || OutcomeOf(err) != test.effect || Transient(err) != test.transient {
				t.Errorf("%v: create: got %v (%v, transient %v), want %v (%v, transient %v)", test.code, err, OutcomeOf(err), Transient(err), test.want, test.effect, test.transient)
			}
			_, err = s.Multi(t.Context(), CheckOp{Path: "/x"})
			if !errors.Is(err, test.want) || OutcomeOf(err) != Failed {
				t.Errorf("%v: multi: got %v (%v), want %v (%v)", test.code, err, OutcomeOf(err), test.want, Failed)
			}
			must(t, s.Close())
		})
	}
}

func TestFinalErrorsAreNotTransient(t *testing.T) {
	for _, err := range []error{
		nil, zk.ErrNoNode, zk.ErrNoAuth, zk.ErrInvalidACL, zk.ErrNotEmpty, ErrTooLarge, ErrLost, ErrClosed,
		context.Canceled, errors.New("of the caller"),
	} {
		if Transient(err) || Transient(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("Transient(%v): got true, want false", err)
		}
	}
	for _, err := range []error{zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrAPIError, zk.ErrShortBuffer} {
		if !Transient(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("Transient(%v): got false, want true", err)
		}
	}
}

func TestRetryPausesAndComesToAnEnd(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		s := open(t, on(e))
		calls := 0
		failing := func(err error) func(context.Context) error {
			return func(context.Context) error { calls++; return err }
		}
		if err := s.Retry(t.Context(), failing(zk.ErrNoAuth)); !errors.Is(err, zk.ErrNoAuth) || calls != 1 {
			t.Errorf("final error: got %d calls, then %v; want 1, then %v", calls, err, zk.ErrNoAuth)
		}
		for _, busy := range []error{ErrThrottled, ErrUnknown} {
			calls = 0
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := s.Retry(ctx, failing(busy))
			if !errors.Is(err, busy) || !errors.Is(err, context.DeadlineExceeded) || calls < 10 || calls > 30 {
				t.Errorf("transient error: got %d calls in a minute, then %v; want 10 to 30, then %v and %v",
					calls, err, busy, context.DeadlineExceeded)
			}
			cancel()
		}
		calls = 0
		start := time.Now()
		if err := s.Retry(t.Context(), func(context.Context) error {
			if calls++; calls < 5 {
				return zk.ErrConnectionClosed
			}
			return nil
		}); err != nil || calls != 5 || time.Since(start) != 0 {
			t.Errorf("lost connections: got %d calls in %v, then %v; want 5 at once, then no error", calls, time.Since(start), err)
		}
		ended := make(chan error)
		go func() { ended <- s.Retry(context.Background(), failing(ErrThrottled)) }()
		synctest.Wait()
		must(t, s.Close())
		if err := <-ended; !errors.Is(err, ErrThrottled) || !errors.Is(err, ErrClosed) {
			t.Errorf("Retry after the end of the session: got %v, want %v and %v", err, ErrThrottled, ErrClosed)
		}
	})
}
