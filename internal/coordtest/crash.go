package coordtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/session"
)

// A Do makes a call in a session and returns what undoes it.
type Do = func(ctx context.Context, s *session.Session) (undo func(context.Context) error, err error)

// A Call is a call of a primitive that may have to wait, such as Lock.
type Call struct {
	// Block is what another session does so that the call has to wait. Nil if it
	// finds the way free.
	Block Do
	Do    Do
}

// blockedFor is when the way is made free, counted from the call.
const blockedFor = Timeout / 2

// AtEachCrashPoint breaks the call at each of its requests. Each time another
// client must be able to do the same afterwards, and nothing may be left.
func (call Call) AtEachCrashPoint(t *testing.T) {
	t.Helper()
	opts := session.Options{Timeout: Timeout}
	harness.CrashPoints(t, func(p *harness.CrashPoint) error {
		unblock := func(context.Context) error { return nil }
		if call.Block != nil {
			blocker, err := p.OpenOther(opts)
			if err != nil {
				return err
			}
			if unblock, err = call.Block(p.Context(), blocker); err != nil {
				return fmt.Errorf("block: %w", err)
			}
		}
		struck, err := p.Open(opts)
		if err != nil {
			return err
		}
		unblocked := make(chan error, 1)
		go func() {
			time.Sleep(blockedFor)
			unblocked <- unblock(p.Context())
		}()
		var undo func(context.Context) error
		if err := p.Break(func(ctx context.Context) (err error) {
			undo, err = call.Do(ctx, struck)
			return err
		}); err == nil {
			if err := undo(p.Context()); err != nil && !p.Fate.Loses() {
				return fmt.Errorf("undo: %w", err)
			}
		}
		if err := <-unblocked; err != nil {
			return fmt.Errorf("unblock: %w", err)
		}
		return call.next(p)
	})
}

// next makes the call in another session.
func (call Call) next(p *harness.CrashPoint) error {
	ctx, cancel := context.WithTimeoutCause(p.Context(), 2*Timeout, errors.New("the way is blocked for the next one"))
	defer cancel()
	other, err := p.OpenOther(session.Options{Timeout: Timeout})
	if err != nil {
		return err
	}
	undo, err := call.Do(ctx, other)
	if err != nil {
		return fmt.Errorf("the next one: %w (%w)", err, context.Cause(ctx))
	}
	return undo(ctx)
}

// UnblockedAtEveryMoment makes the way free at the first moment of the call, then
// in a new world at its second and so on, until it is over before.
func (call Call) UnblockedAtEveryMoment(t *testing.T) {
	t.Helper()
	const most = 100
	for n := 1; ; n++ {
		reached := false
		Run(t, func(t *testing.T, w *World) {
			c := w.Client()
			release, err := call.Block(t.Context(), w.Client().Session)
			if err != nil {
				t.Fatal(err)
			}
			unblock := sync.OnceFunc(func() {
				if err := release(context.Background()); err != nil {
					t.Error(err)
				}
			})
			last := time.AfterFunc(blockedFor, unblock)
			defer last.Stop()
			c.At(n, func() { go unblock() })
			w.Within(2*Timeout, "the call", func(ctx context.Context) error {
				undo, err := call.Do(ctx, c.Session)
				if err != nil {
					return err
				}
				return undo(ctx)
			})
			reached = c.Reached()
			unblock()
			w.NothingLeft()
		})
		switch {
		case t.Failed():
			t.Fatalf("unblocked at moment %d", n)
		case !reached && n < 3:
			t.Fatalf("the call has %d moments only", n-1)
		case !reached:
			return
		case n > most:
			t.Fatalf("the call has more than %d moments", most)
		}
	}
}
