package harness

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// The function `holders` returns two clients of a run, and a function that returns the run's
// history.
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

// Regression: a lost hold was recorded as given up. This happened if the program observed the end
// of the context before the goroutine that records the loss had run.
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
				t.Fatalf("%s: got holds %+v, want one hold that was lost", name, all)
			}
		}
	}
}

// The test releases a hold in two ways. If the release ends the hold's context before it deletes
// the node, the hold does not overlap with the next hold, even if the goroutine that records the
// end of the hold is late. If the release ends the context after it deletes the node, the two holds
// overlap.
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
				t.Fatalf("got holds %+v, want two holds that were given up", all)
			}
			want := checker.Valid
			if late {
				want = checker.Invalid
			}
			if r := checker.Run(t.Context(), list, checker.LockNoOverlap(checker.Envelope{})); r[0].Verdict != want {
				t.Fatalf("context ended late: %v: got %+v, want verdict %v", late, r[0], want)
			}
		}
	}
}

func TestCrashEndsHolds(t *testing.T) {
	a, _, recorded := holders(t)
	ctx, end := grant()
	h := a.Hold(ctx, lockEvent)
	if !a.Holding() {
		t.Error("Holding() = false after Hold, want true")
	}
	defer end(nil)
	a.crash(errors.New("crash"))
	if holding, ended := a.Holding(), h.End(); holding || ended {
		t.Errorf("after the crash: got Holding() = %t, End() = %t, want false for both",
			holding, ended)
	}
	if all := recorded().Holds(); len(all) != 1 || all[0].End == nil || all[0].End.Kind != history.Crash {
		t.Errorf("got holds %+v, want one hold that ends with the crash", all)
	}
}

// If the context of a hold ends before the session ends, the history has the two ends in this
// order. That is true even if the goroutine that records the loss is late.
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
			t.Fatalf("got %+v, want verdict %v", r[0], checker.Valid)
		}
	}
}

// The method `lag` returns the longest delay of a tick, and the sum of the delays. Ticks are due
// every 10 ms.
func TestLagIsTheLongestDelayAndTheSum(t *testing.T) {
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
			t.Errorf("tick %d after %v: got a stall of %v, want %v", i, after, got, want)
		}
		if i == 2 {
			if most, sum := m.lag(at); most != 3*ms || sum != 3*ms {
				t.Errorf("got lag %v and a sum of %v, want 3ms twice", most, sum)
			}
		}
	}
	if most, sum := m.lag(at); most != 0 || sum != 0 {
		t.Errorf("got lag %v and a sum of %v, want 0, because a stall is not a lag", most, sum)
	}
	if most, _ := m.lag(at.Add(10 * ms)); most != 0 {
		t.Errorf("got lag %v at the time of the next tick, want 0", most)
	}
	if most, sum := m.lag(at.Add(30 * ms)); most != 20*ms || sum != 20*ms {
		t.Errorf("got lag %v and a sum of %v of an overdue tick, want 20ms twice", most, sum)
	}
	for i := range 3 {
		m.tick(at.Add(time.Duration(1+i) * 50 * ms))
	}
	if most, sum := m.lag(at.Add(150 * ms)); most != 40*ms || sum != 120*ms {
		t.Errorf("got lag %v and a sum of %v after three late ticks, want 40ms and 120ms", most, sum)
	}
}
