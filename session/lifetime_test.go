package session

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/internal/engine"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/zktest"
)

// After the end of a lifetime, spawn and detach start nothing. The method `wait` waits for
// everything that was started before.
func TestNothingIsSpawnedAfterTheEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := newLifetime()
		ended := false
		if !l.spawn(func() { <-l.ctx.Done(); time.Sleep(time.Second); ended = true }) {
			t.Fatal("spawn before the end: got false, want true")
		}
		l.end(ErrLost)
		l.end(ErrClosed)
		if spawned := l.spawn(func() { t.Error("spawn after the end ran its function, want it not run") }); spawned || l.err() != ErrLost {
			t.Errorf("spawn after the end: got %t and cause %v, want false and %v", spawned, l.err(), ErrLost)
		}
		if err := <-l.detach(func(context.Context) error {
			t.Error("detach after the end ran its function, want it not run")
			return nil
		}); err != ErrLost {
			t.Errorf("detach after the end: got %v, want %v", err, ErrLost)
		}
		if l.wait(); !ended {
			t.Error("wait returned before the spawned function had ended")
		}
	})
}

// The method `settle` waits for detached work only, and not longer than its limit.
func TestSettleWaitsForDetachedWork(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := newLifetime()
		defer l.wait()
		defer l.end(ErrClosed)
		took := func() time.Duration {
			start := time.Now()
			l.settle(10 * time.Second)
			return time.Since(start)
		}
		l.spawn(func() { <-l.ctx.Done() })
		if d := took(); d != 0 {
			t.Errorf("settle without detached work took %v, want none", d)
		}
		for _, work := range []time.Duration{2 * time.Second, 3 * time.Second} {
			l.detach(func(ctx context.Context) error { return sleep(ctx, work) })
		}
		if d := took(); d != 3*time.Second {
			t.Errorf("settle with work of 2 s and 3 s took %v, want 3 s", d)
		}
		l.detach(func(ctx context.Context) error { <-ctx.Done(); return nil })
		if d := took(); d != 10*time.Second {
			t.Errorf("settle with work without an end took %v, want its limit of 10 s", d)
		}
	})
}

// Reports are called in the order in which they were added. A report may add another one, because
// the reporter's lock is not held during the call.
func TestReportsAreMadeInOrder(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		r := newReporter(nil)
		var got []int
		r.add(func() { got = append(got, 1); r.add(func() { got = append(got, 3) }) })
		r.add(func() { got = append(got, 2) })
		ctx, cancel := context.WithCancel(t.Context())
		go r.run(ctx)
		synctest.Wait()
		r.add(func() { got = append(got, 4) })
		if synctest.Wait(); len(got) != 4 || got[2] != 3 || got[3] != 4 {
			t.Errorf("reports: got %v, want the numbers 1 to 4 in order", got)
		}
		cancel()
	})
}

// After the state that ends a session, no other state is reported. No state is reported twice in a
// row.
func TestStatesEndOnce(t *testing.T) {
	var told []State
	s := newStates(func(state State) { told = append(told, state) })
	for _, state := range []State{Suspended, Connected, Connected, Suspended, Lost, Connected, Closed} {
		s.set(state)
	}
	if len(told) != 3 || told[2] != Lost || s.now() != Lost {
		t.Errorf("reported states: got %v, now %v; want 3 with %v last", told, s.now(), Lost)
	}
}

// Close waits for detached work in progress, at most a third of the session timeout.
//
// Covers S7.
func TestCloseWaitsForCleanUpWithABound(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		for _, took := range []time.Duration{time.Second, time.Hour} {
			s := open(t, on(e))
			bound := s.Timeout() / 3
			finished := false
			s.life.detach(func(ctx context.Context) error {
				err := sleep(ctx, took)
				finished = err == nil
				return err
			})
			start := time.Now()
			must(t, s.Close())
			if d := time.Since(start); d > bound || finished != (took < bound) || d < min(took, bound) {
				t.Errorf("clean-up of %v: Close took %v and the clean-up finished: %v; want %v to %v and %v",
					took, d, finished, min(took, bound), bound, took < bound)
			}
		}
	})
}

func TestIDsAreRepeatableFromASeed(t *testing.T) {
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		var names [2]engine.ID
		for i := range names {
			opts := on(e)
			opts.Rand = strings.NewReader(strings.Repeat("0123456789abcdef", 64))
			s := open(t, opts)
			names[i] = s.newID()
			must(t, s.Close())
		}
		if names[0] != names[1] || names[0] == (engine.ID{}) {
			t.Errorf("names from one seed: got %q, want two equal ones", names)
		}
	})
}
