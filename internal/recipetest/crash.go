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

// A Do makes a call in a session. It returns a function that undoes the call.
type Do = func(ctx context.Context, s *session.Session) (undo func(context.Context) error, err error)

// A Call describes a call of a primitive that may have to wait, for example Lock.
type Call struct {
	// If Block is not nil, another session calls Block first, so that Do has to wait.
	Block Do
	Do    Do
}

// blockedFor is the longest time for which Do is blocked, from the start of Do until the block is
// removed.
const blockedFor = Timeout / 2

// AtEachCrashPoint makes the call repeatedly, until each crashpoint.Fate, for example a lost reply,
// has struck the client at each request of the call. After each of these calls, another client must
// be able to make the same call, and no ephemeral znode and no watch may remain on the servers.
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

// The method `next` makes the call in another session.
func (call Call) next(p *crashpoint.Point) error {
	ctx, cancel := context.WithTimeoutCause(p.Context(), 2*Timeout, errors.New("the call of another client is blocked"))
	defer cancel()
	other, err := p.OpenOther(session.Options{Timeout: Timeout})
	if err != nil {
		return err
	}
	undo, err := call.Do(ctx, other)
	if err != nil {
		return fmt.Errorf("call of another client: %w", err)
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

// Strike applies the fate of the trial to one of the requests that c sends from now on. The first
// trial of each fate selects the first of these requests, the next trial the second, and so on.
func (tr *Trial) Strike(c *Client) {
	rule := zktest.Rule{Session: c.ID(), Skip: tr.skip, Fate: zktest.CloseBeforeRequest}
	if tr.fate == crashpoint.ReplyLost || tr.fate == crashpoint.ReplyAndSessionLost {
		rule.Fate = zktest.CloseBeforeReply
	}
	// World.Inject fails the test if the rule selects no request. In the last trial of each fate,
	// the rule selects none, because it skips all requests that the client sends. So Strike uses
	// Ensemble.Inject.
	in := tr.Ensemble.Inject(rule)
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

// Loses reports whether the affected client loses its session.
func (tr *Trial) Loses() bool { return tr.fate.Loses() }

// AtEachLostRequest tests several calls together. For each of the four fates that lose a request or
// its reply, it runs f repeatedly. In each run, f calls Trial.Strike with a client. In the n-th
// run, the fate is applied to the n-th request that this client sends after the call of Strike. The
// runs end when the client sends fewer than n such requests.
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
				t.Errorf("%s: the client sent no request, want at least one", fate)
			}
			if !ok || !hit {
				break
			}
		}
	}
}
