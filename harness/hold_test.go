package harness

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// holders returns two clients of a run, and a function for its history.
func holders(t *testing.T) (a, b *Client, recorded func() *history.History) {
	t.Helper()
	env := &Env{rec: history.NewRecorder()}
	env.clients = []*Client{newClient(env, 0), newClient(env, 1)}
	return env.clients[0], env.clients[1], env.rec.History
}

func grant() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(context.Background())
}

var lockEvent = history.Event{Object: "/lock", Token: 1}

// A hold that was lost was recorded as given up when the program saw the end of the
// context before the goroutine that records the loss had run.
func TestLostHoldIsNotRecordedAsGivenUp(t *testing.T) {
	lost := errors.New("lost")
	for range 1000 {
		for name, give := range map[string]func(h *Hold){
			"End":     func(h *Hold) { h.End() },
			"Release": func(h *Hold) { h.Release(func() error { return lost }) },
		} {
			a, _, recorded := holders(t)
			ctx, end := grant()
			h := a.Hold(ctx, lockEvent)
			end(lost)
			give(h)
			if all := recorded().Holds(); len(all) != 1 || !all[0].Lost() || all[0].End.Error != "lost" {
				t.Fatalf("%s recorded %+v, want one hold that was lost", name, all)
			}
		}
	}
}

// A release that ends the context in time never overlaps with the next hold,
// however late the goroutine is that records ends; one that ends it late does.
func TestReleaseIsOverWhenTheContextIs(t *testing.T) {
	for _, late := range []bool{false, true} {
		for range 1000 {
			a, b, recorded := holders(t)
			first, end := grant()
			second, endSecond := grant()
			h := a.Hold(first, lockEvent)
			var next *Hold
			h.Release(func() error {
				if !late {
					end(context.Canceled)
				}
				next = b.Hold(second, history.Event{Object: "/lock", Token: 2}) // the node is deleted
				if late {
					end(context.Canceled)
				}
				return nil
			})
			next.Release(func() error { endSecond(context.Canceled); return nil })
			a.env.phase(history.PhaseEnd)
			list := recorded()
			if all := list.Holds(); len(all) != 2 || all[0].Lost() || all[1].Lost() {
				t.Fatalf("recorded %+v, want two holds that were given up", all)
			}
			want := checker.Valid
			if late {
				want = checker.Invalid
			}
			if r := checker.Run(t.Context(), list, checker.LockNoOverlap(checker.Envelope{})); r[0].Verdict != want {
				t.Fatalf("late %v: %+v, want %v", late, r[0], want)
			}
		}
	}
}

// Nobody is left to believe in the holds of a client that has crashed.
func TestCrashEndsHolds(t *testing.T) {
	a, _, recorded := holders(t)
	ctx, end := grant()
	h := a.Hold(ctx, lockEvent)
	if !a.Holding() {
		t.Error("the hold is not known")
	}
	defer end(nil)
	a.crash(errors.New("crash"))
	if a.Holding() || h.End() {
		t.Error("the hold goes on")
	}
	if all := recorded().Holds(); len(all) != 1 || all[0].End == nil || all[0].End.Kind != history.Crash {
		t.Errorf("recorded %+v, want one hold that ends with the crash", all)
	}
}

// The end of a hold comes before the end of its session if the context had ended by then, however late the
// goroutine is that records the loss.
func TestHoldThatEndedInTimeIsRecordedBeforeItsSessionsEnd(t *testing.T) {
	for range 1000 {
		a, _, recorded := holders(t)
		ctx, end := grant()
		a.Opened(SessionInfo{ID: 7})
		a.Hold(ctx, lockEvent)
		end(errors.New("lost"))
		a.env.SessionEnded(7, false)
		a.env.phase(history.PhaseEnd)
		if r := checker.Run(t.Context(), recorded(), checker.LockLossBeforeExpiry(checker.Envelope{})); r[0].Verdict != checker.Valid {
			t.Fatalf("%+v, want %v", r[0], checker.Valid)
		}
	}
}

// Ticks are due every 10 ms.
func TestLagIsTheMostOfASecond(t *testing.T) {
	const ms = time.Millisecond
	begun := time.Now()
	m := lagMeter{last: begun, begun: begun}
	at := begun
	for i, after := range []time.Duration{10 * ms, 13 * ms, 7 * ms, 120 * ms} {
		at = at.Add(after)
		want := time.Duration(0)
		if i == 3 {
			want = 110 * ms
		}
		if got := m.tick(at); got != want {
			t.Errorf("tick %d after %v: a stall of %v, want %v", i, after, got, want)
		}
		if i == 2 {
			if got := m.lag(at); got != 3*ms {
				t.Errorf("lag %v, want 3ms", got)
			}
		}
	}
	if got := m.lag(at); got != 0 {
		t.Errorf("lag %v, want none, because a stall is no lag", got)
	}
	if got := m.lag(at.Add(10 * ms)); got != 0 {
		t.Errorf("lag %v, want none", got)
	}
	if got := m.lag(at.Add(30 * ms)); got != 20*ms {
		t.Errorf("lag %v of a tick that has not come, want 20ms", got)
	}
}
