package recipetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/crashpoint"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
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
	crashpoint.Run(t, func(p *crashpoint.Point) error {
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
func (call Call) next(p *crashpoint.Point) error {
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

// A Trial is one run of AtEachLostRequest.
type Trial struct {
	*World
	fate crashpoint.Fate
	skip int
	hit  bool
}

// Strike lets the fate strike among the requests that c makes from now on.
func (tr *Trial) Strike(c *Client) {
	rule := zktest.Rule{Session: c.ID(), Skip: tr.skip, Fate: zktest.CloseBeforeRequest}
	if tr.fate == crashpoint.ReplyLost || tr.fate == crashpoint.ReplyAndSessionLost {
		rule.Fate = zktest.CloseBeforeReply
	}
	in := tr.Inject(rule)
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		for state := range c.States(ctx) {
			if tr.fate.Loses() && state == session.Suspended && in.Fired() > 0 {
				c.Lose()
			}
		}
	})
	tr.t.Cleanup(func() {
		tr.hit = in.Fired() > 0
		in.Remove()
		stop()
		watch.Wait()
	})
}

// Loses reports whether the client that is struck loses its session.
func (tr *Trial) Loses() bool { return tr.fate.Loses() }

// AtEachLostRequest is for what several calls do together. It runs f with each
// fate of the connection, at the first request of the client that f gives to
// Strike, at the second, and so on until a run makes too few.
func AtEachLostRequest(t *testing.T, f func(t *testing.T, tr *Trial)) {
	t.Helper()
	for _, fate := range []crashpoint.Fate{crashpoint.RequestLost, crashpoint.ReplyLost, crashpoint.RequestAndSessionLost, crashpoint.ReplyAndSessionLost} {
		for skip := 0; ; skip++ {
			hit := false
			ok := t.Run(fmt.Sprintf("%s/%d", fate, skip+1), func(t *testing.T) {
				var tr *Trial
				Run(t, func(t *testing.T, w *World) {
					tr = &Trial{World: w, fate: fate, skip: skip}
					f(t, tr)
				})
				hit = tr.hit
			})
			if ok && !hit && skip == 0 {
				t.Errorf("%s: no request is made", fate)
			}
			if !ok || !hit {
				break
			}
		}
	}
}
