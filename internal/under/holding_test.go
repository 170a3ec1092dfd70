package under

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
		t.Errorf("deadline %v, want %v; value %v; %v", got, want, ctx.Value(key{}), ctx.Err())
	}
	cancel()
	if ctx.Err() == nil {
		t.Error("it goes on after its caller")
	}
}

func TestBoundContextHasTheCallersError(t *testing.T) {
	errDown := errors.New("going down")
	caller, cancel := context.WithCancelCause(t.Context())
	var h Holding
	ctx := h.Bind(caller)
	cancel(errDown)
	if got := context.Cause(ctx); got != errDown {
		t.Errorf("cause %v, want %v", got, errDown)
	}
	late, cancelLate := context.WithDeadline(t.Context(), time.Now())
	defer cancelLate()
	if got := h.Bind(late).Err(); got != context.DeadlineExceeded {
		t.Errorf("err after the deadline %v, want %v", got, context.DeadlineExceeded)
	}
}

// No goroutine is scheduled between the end of a holding and that of what is
// derived from it. If one was, some of so many would still go on.
func TestEndIsSynchronous(t *testing.T) {
	for range 1000 {
		var h Holding
		ctx, cancel := context.WithCancel(h.Bind(t.Context()))
		h.End(errLost)
		if got := context.Cause(ctx); got != errLost {
			t.Fatalf("cause %v when End has returned, want %v", got, errLost)
		}
		cancel()
	}
}

func TestEndedHoldingBindsNothing(t *testing.T) {
	var h Holding
	h.End(errLost)
	h.End(errors.New("again"))
	if got := context.Cause(h.Bind(t.Context())); got != errLost {
		t.Errorf("cause %v, want %v", got, errLost)
	}
	called := error(nil)
	h.OnEnd(func(cause error) { called = cause })
	if called != errLost {
		t.Errorf("OnEnd called with %v, want %v", called, errLost)
	}
	if len(h.hooks) > 0 {
		t.Errorf("%d hooks left", len(h.hooks))
	}
}

// A leader that binds a context for each request keeps nothing of those that
// are over.
func TestBindKeepsNothingOfEndedCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Holding
		long := h.Bind(t.Context())
		for range 1000 {
			ctx, cancel := context.WithCancel(t.Context())
			h.Bind(ctx)
			cancel()
			h.Bind(ctx) // has ended before
		}
		synctest.Wait() // what forgets them runs on goroutines of its own
		if len(h.hooks) != 1 {
			t.Errorf("%d hooks, want 1", len(h.hooks))
		}
		h.End(errLost)
		if context.Cause(long) != errLost {
			t.Error("the one that is left goes on")
		}
	})
}

// counted is a context that counts what waits for its end.
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

// Nor does the context of a program keep anything of what it held.
func TestCallerKeepsNothingOfEndedHoldings(t *testing.T) {
	caller := &counted{Context: t.Context()}
	for range 10 {
		var h Holding
		h.Bind(caller)
		if caller.waiting == 0 {
			t.Fatal("nothing waits for the caller's end")
		}
		h.End(errLost)
	}
	if caller.waiting != 0 {
		t.Errorf("%d wait for the caller's end, want none", caller.waiting)
	}
}

// A bound context that is used for the release does not end the wait for it. Its
// caller does, and a deadline that was added.
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
		t.Errorf("the bound context %v, the wait %v after the release", timed.Err(), wait.Err())
	}
	if foreign != inTime || plain != inTime {
		t.Error("a context that has the deadline itself is not waited for as it is")
	}
	want, _ := timed.Deadline()
	if got, _ := wait.Deadline(); got != want {
		t.Errorf("deadline of the wait %v, want %v", got, want)
	}
	cancel()
	if wait.Err() == nil {
		t.Error("the wait goes on after the caller")
	}
	if ended, _ := h.Unbind(timed); ended != timed {
		t.Error("the release waits though its context has ended")
	}
}
