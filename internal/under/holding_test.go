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

// End itself ends all contexts derived from the holding. If another goroutine had to end them, some
// of them might not have ended when End returns.
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

// A leader may bind a context for each request. The holding must not keep the hooks of requests
// that have ended.
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
		if cause := context.Cause(long); cause != errLost {
			t.Errorf("cause of the remaining context after End: got %v, want %v", cause, errLost)
		}
	})
}

// A counted is a context that counts the functions that are registered to run at its end.
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

// When a holding ends, it removes its registration from the caller's context.
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

// A program may pass a context of Bind to a release. The wait for the release must not end when the
// holding ends. It must end when the caller's context ends, or at a deadline that the program has
// added to the bound context.
func TestUnboundContextOutlastsTheRelease(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
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
		h.End(errLost)
		synctest.Wait()
		if timed.Err() == nil || wait.Err() != nil {
			t.Errorf("after the release: got bound context %v, wait %v; want it ended, nil", timed.Err(), wait.Err())
		}
		if foreign != inTime {
			t.Error("Unbind did not return the context that no Bind of this holding returned")
		}
		want, _ := timed.Deadline()
		if got, _ := wait.Deadline(); got != want {
			t.Errorf("got deadline of the wait %v, want %v", got, want)
		}
		cancel()
		synctest.Wait()
		if wait.Err() == nil {
			t.Error("the wait continues after the caller's context has ended")
		}
		if ended, _ := h.Unbind(timed); ended != timed {
			t.Error("Unbind of an ended context must return that context")
		}
	})
}

// The context that Unbind returns has the cause that ended the wait.
func TestCauseOfAnEndedWait(t *testing.T) {
	errDeadline := errors.New("too slow")
	for _, c := range []struct {
		name  string
		after func(h *Holding, cancelCaller, cancelOwn context.CancelCauseFunc)
		want  error
	}{
		{name: "deadline of the caller", after: func(h *Holding, _, _ context.CancelCauseFunc) { h.End(errLost) }, want: errDeadline},
		{name: "deadline of the caller, held", after: func(*Holding, context.CancelCauseFunc, context.CancelCauseFunc) {}, want: errDeadline},
		{name: "caller", after: func(h *Holding, cancel, _ context.CancelCauseFunc) { h.End(errLost); cancel(errOwn) }, want: errOwn},
		{name: "caller, held", after: func(_ *Holding, cancel, _ context.CancelCauseFunc) { cancel(errOwn) }, want: errOwn},
		{name: "cancelled while held", after: func(h *Holding, _, cancel context.CancelCauseFunc) { cancel(errOwn); h.End(errLost) }, want: errOwn},
	} {
		virtual.Test(t, func(t *testing.T) {
			inTime, stop := context.WithTimeoutCause(t.Context(), time.Hour, errDeadline)
			defer stop()
			caller, cancelCaller := context.WithCancelCause(inTime)
			defer cancelCaller(nil)
			var h Holding
			ctx, cancelOwn := context.WithCancelCause(h.Bind(caller))
			defer cancelOwn(nil)
			wait, done := h.Unbind(ctx)
			defer done()
			c.after(&h, cancelCaller, cancelOwn)
			<-wait.Done()
			if got := context.Cause(wait); got != c.want {
				t.Errorf("%s: got cause %v, want %v", c.name, got, c.want)
			}
		})
	}
}

// context.WithoutCancel makes a context that has the values of a bound context. Neither the holding
// nor the caller's context ends this new context. If the new context is passed to Unbind, neither
// of them may end the context that Unbind returns.
func TestDetachedContextOutlastsTheCaller(t *testing.T) {
	const limit = time.Minute
	for name, cancelled := range map[string]func(at string) bool{
		"before Unbind": func(at string) bool { return at == "before" },
		"while waiting": func(at string) bool { return at == "after" },
		"never":         func(string) bool { return false },
	} {
		virtual.Test(t, func(t *testing.T) {
			caller, cancel := context.WithTimeout(t.Context(), limit/2)
			defer cancel()
			var h, other Holding
			bound := other.Bind(h.Bind(caller))
			unlimited := context.WithoutCancel(bound)
			limited, stop := context.WithTimeout(unlimited, limit)
			defer stop()
			if cancelled("before") {
				cancel()
			}
			var waits []context.Context
			for _, ctx := range []context.Context{unlimited, limited} {
				inner, done := other.Unbind(ctx) // as lock.MultiGrant does
				defer done()
				wait, done := h.Unbind(inner)
				defer done()
				waits = append(waits, wait)
			}
			h.End(errLost)
			other.End(errLost)
			if cancelled("after") {
				cancel()
			}
			time.Sleep(limit - time.Second)
			for i, wait := range waits {
				if wait.Err() != nil {
					t.Errorf("caller cancelled %s: wait %d ended with %v, want it to continue", name, i, context.Cause(wait))
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := context.Cause(waits[1]); got != context.DeadlineExceeded || waits[0].Err() != nil {
				t.Errorf("caller cancelled %s: at the deadline: got cause %v, without a deadline %v; want %v, nil",
					name, got, waits[0].Err(), context.DeadlineExceeded)
			}
		})
	}
}
