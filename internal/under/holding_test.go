package under

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
)

var errLost = errors.New("lapsed")

type key struct{}

func TestBoundContextIsThatOfItsCaller(t *testing.T) {
	caller, cancel := context.WithTimeoutCause(context.WithValue(t.Context(), key{}, 7), time.Hour, nil)
	defer cancel()
	var h Holding
	ctx := h.Bind(caller)
	want, _ := caller.Deadline()
	if got, ok := ctx.Deadline(); !ok || got != want || ctx.Value(key{}) != 7 || ctx.Err() != nil {
		t.Errorf("got deadline %v, want %v; value %v, want 7; error %v, want nil", got, want, ctx.Value(key{}), ctx.Err())
	}
	cancel()
	if ctx.Err() == nil {
		t.Error("the bound context continues after its caller's")
	}
}

func TestBoundContextHasTheCallersError(t *testing.T) {
	errDown := errors.New("going down")
	caller, cancel := context.WithCancelCause(t.Context())
	var h Holding
	ctx := h.Bind(caller)
	cancel(errDown)
	if got := context.Cause(ctx); got != errDown {
		t.Errorf("got cause %v, want %v", got, errDown)
	}
	late, cancelLate := context.WithDeadline(t.Context(), time.Now())
	defer cancelLate()
	if got := h.Bind(late).Err(); got != context.DeadlineExceeded {
		t.Errorf("got error %v after the deadline, want %v", got, context.DeadlineExceeded)
	}
}

// No goroutine is scheduled between the end of a holding and the end of a
// context derived from it. Otherwise some of the contexts would still continue.
func TestEndIsSynchronous(t *testing.T) {
	for range 1000 {
		var h Holding
		ctx, cancel := context.WithCancel(h.Bind(t.Context()))
		h.End(errLost)
		if got := context.Cause(ctx); got != errLost {
			t.Fatalf("got cause %v after End, want %v", got, errLost)
		}
		cancel()
	}
}

func TestEndedHoldingBindsNothing(t *testing.T) {
	var h Holding
	h.End(errLost)
	h.End(errors.New("again"))
	if got := context.Cause(h.Bind(t.Context())); got != errLost {
		t.Errorf("got cause %v, want %v", got, errLost)
	}
	called := error(nil)
	h.OnEnd(func(cause error) { called = cause })
	if called != errLost {
		t.Errorf("OnEnd called f with %v, want %v", called, errLost)
	}
	if len(h.hooks) > 0 {
		t.Errorf("got %d hooks after the end, want none", len(h.hooks))
	}
}

// A leader that binds a context for each request keeps nothing of requests that
// are over.
func TestBindKeepsNothingOfEndedCallers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var h Holding
		long := h.Bind(t.Context())
		for range 1000 {
			ctx, cancel := context.WithCancel(t.Context())
			h.Bind(ctx)
			cancel()
			h.Bind(ctx) // has already ended
		}
		synctest.Wait() // the hooks are removed on separate goroutines
		if len(h.hooks) != 1 {
			t.Errorf("got %d hooks, want 1", len(h.hooks))
		}
		h.End(errLost)
		if context.Cause(long) != errLost {
			t.Error("the remaining context continues after the end")
		}
	})
}

// A counted is a context that counts the registrations for its end.
type counted struct {
	context.Context
	waiting int
}

func (c *counted) Done() <-chan struct{} { return make(chan struct{}) }
func (c *counted) Value(any) any         { return nil }
func (c *counted) AfterFunc(func()) (stop func() bool) {
	c.waiting++
	return func() bool { c.waiting--; return true }
}

// The context of a program keeps nothing of holdings that have ended.
func TestCallerKeepsNothingOfEndedHoldings(t *testing.T) {
	caller := &counted{Context: t.Context()}
	for range 10 {
		var h Holding
		h.Bind(caller)
		if caller.waiting == 0 {
			t.Fatal("no registration for the caller's end, want one")
		}
		h.End(errLost)
	}
	if caller.waiting != 0 {
		t.Errorf("got %d registrations for the caller's end, want none", caller.waiting)
	}
}

// If a bound context is passed to the release, the end of the holding does not
// end the wait for the release. The end of the caller's context or an added
// deadline ends it.
func TestUnboundContextOutlastsTheRelease(t *testing.T) {
	caller, cancel := context.WithCancel(t.Context())
	defer cancel()
	var h, other Holding
	bound := other.Bind(h.Bind(h.Bind(caller)))
	timed, stop := context.WithTimeout(bound, time.Hour)
	defer stop()
	wait, done := h.Unbind(timed)
	defer done()
	inTime, stopInTime := context.WithTimeoutCause(caller, time.Hour, errLost)
	defer stopInTime()
	foreign, done := other.Unbind(inTime)
	defer done()
	plain, done := h.Unbind(h.Bind(inTime))
	defer done()
	h.End(errLost)
	if timed.Err() == nil || wait.Err() != nil {
		t.Errorf("after the release: got bound context %v, wait %v; want it ended, nil", timed.Err(), wait.Err())
	}
	if foreign != inTime || plain != inTime {
		t.Error("Unbind did not return the context that has the deadline itself")
	}
	want, _ := timed.Deadline()
	if got, _ := wait.Deadline(); got != want {
		t.Errorf("got deadline of the wait %v, want %v", got, want)
	}
	cancel()
	if wait.Err() == nil {
		t.Error("the wait continues after the caller's context has ended")
	}
	if ended, _ := h.Unbind(timed); ended != timed {
		t.Error("Unbind of an ended context must return that context")
	}
}
