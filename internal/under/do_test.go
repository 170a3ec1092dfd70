package under

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

var (
	errOwn     = errors.New("own")
	errGivenUp = errors.New("given up")
	errRefused = errors.New("refused")
)

// A thing is a Holding for the tests of Do. It records the results that its release receives.
type thing struct {
	Holding
	ctx      context.Context
	results  []error
	released error // the error of its release
}

func newThing() *thing {
	h := &thing{}
	h.ctx = h.Bind(context.Background())
	return h
}

func (h *thing) Context() context.Context { return h.ctx }

func (h *thing) work() Work {
	return Work{Held: h, Name: "test: lost /a", Released: errGivenUp, Release: func(ctx context.Context, result error) error {
		h.results = append(h.results, result)
		held := h.ctx.Err() == nil
		h.End(errGivenUp)
		switch {
		case !held:
			return fmt.Errorf("release /a: %w", context.Cause(h.ctx))
		case ctx.Err() != nil:
			return fmt.Errorf("release /a: %w", context.Cause(ctx))
		}
		return h.released
	}}
}

// Each case is one way in which the function, the holding and the release can end, with the error
// that Do must return.
func TestErrorOfDo(t *testing.T) {
	stops := func(ctx context.Context, _ *thing) error { return ctx.Err() }
	for _, c := range []struct {
		name     string
		f        func(ctx context.Context, h *thing) error
		lose     bool
		cancel   bool
		confirm  bool
		released error
		want     []error
		not      error
	}{
		{name: "done", f: func(context.Context, *thing) error { return nil }},
		{name: "failed", f: func(context.Context, *thing) error { return errOwn }, want: []error{errOwn}},
		{name: "lost", lose: true, f: func(context.Context, *thing) error { return nil }, want: []error{errLost}},
		{name: "lost and stopped", lose: true, f: stops, want: []error{errLost}, not: context.Canceled},
		{name: "lost and said so", lose: true, f: func(ctx context.Context, _ *thing) error { return context.Cause(ctx) }, want: []error{errLost}},
		{name: "lost and failed", lose: true, f: func(context.Context, *thing) error { return errOwn }, want: []error{errLost, errOwn}},
		{name: "lost and cancelled", lose: true, cancel: true, f: stops, want: []error{errLost, context.Canceled}},
		{name: "cancelled", cancel: true, f: stops, want: []error{context.Canceled}},
		{name: "done and cancelled", cancel: true, f: func(context.Context, *thing) error { return nil }},
		{name: "failed and cancelled", cancel: true, f: func(context.Context, *thing) error { return errOwn }, want: []error{errOwn}, not: context.Canceled},
		{name: "not confirmed", confirm: true, cancel: true, f: func(context.Context, *thing) error { return nil }, want: []error{context.Canceled}},
		{name: "failed and not confirmed", confirm: true, cancel: true, f: func(context.Context, *thing) error { return errOwn }, want: []error{errOwn}, not: context.Canceled},
		{name: "not released", released: errRefused, f: func(context.Context, *thing) error { return nil }, want: []error{errRefused}},
		{name: "failed and not released", released: errRefused, f: func(context.Context, *thing) error { return errOwn }, want: []error{errOwn, errRefused}},
		{name: "released by the function", f: func(_ context.Context, h *thing) error { h.End(errGivenUp); return nil }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		h := newThing()
		h.released = c.released
		var inner context.Context
		w := h.work()
		w.Confirm = c.confirm
		err := Do(ctx, w, func(ctx context.Context) error {
			inner = ctx
			if c.lose {
				h.End(errLost)
			}
			if c.cancel {
				cancel()
			}
			return c.f(ctx, h)
		})
		cancel()
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: got error %v, want %v in it", c.name, err, want)
			}
			if strings.Count(fmt.Sprint(err), want.Error()) != 1 {
				t.Errorf("%s: error %q must contain %q exactly once", c.name, err, want)
			}
		}
		if len(c.want) == 0 && err != nil || c.not != nil && errors.Is(err, c.not) {
			t.Errorf("%s: got error %v, want nil or an error without %v", c.name, err, c.not)
		}
		if inner.Err() == nil || len(h.results) != 1 {
			t.Errorf("%s: after Do: got inner context %v and %d releases, want it ended and 1", c.name, inner.Err(), len(h.results))
		}
	}
}

// If the function does not return, Do still releases the holding, but does not wait for the
// servers.
func TestDoReleasesWhereTheFunctionDoesNotReturn(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic(errOwn) }, "Goexit": runtime.Goexit} {
		h := newThing()
		var inner context.Context
		waited := false
		w := h.work()
		release := w.Release
		w.Release = func(ctx context.Context, result error) error {
			waited = ctx.Err() == nil
			return release(ctx, result)
		}
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			_ = Do(t.Context(), w, func(ctx context.Context) error {
				inner = ctx
				leave()
				return nil
			})
		}()
		got := <-done
		if name == "panic" && got != errOwn {
			t.Errorf("panic: recovered %v, want %v", got, errOwn)
		}
		if inner.Err() == nil || waited || len(h.results) != 1 || h.results[0] != ErrPanicked {
			t.Errorf("%s: got inner context %v, waited %v, results %v; want it ended, false, [ErrPanicked]", name, inner.Err(), waited, h.results)
		}
	}
}
