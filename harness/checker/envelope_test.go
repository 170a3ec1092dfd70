package checker

import (
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// The zero After and Stall are what the documentation says. Were they larger, runs
// would excuse more than is promised, and all of them would still be valid.
func TestZeroEnvelopeExcusesNoMore(t *testing.T) {
	const ms = time.Millisecond
	fault := func(at time.Duration, op string) history.Event {
		return history.Event{Time: at, Kind: history.Fault, Op: op, Object: "pause", Node: "c0", Step: 1}
	}
	stall := func(length string) []history.Event {
		return []history.Event{{Time: 1500 * ms, Kind: history.Fact, Op: history.FactStall, Result: length}}
	}
	paused := []history.Event{fault(500*ms, history.FaultStart), fault(1500*ms, history.FaultStop)}
	for _, one := range []struct {
		what   string
		events []history.Event
		from   time.Duration // when the two holds begin to overlap
		want   Verdict
	}{
		{"within 1 s after the fault", paused, 2490 * ms, Valid},
		{"later than 1 s after the fault", paused, 2510 * ms, Invalid},
		{"within 1 s after a stall of 250 ms", stall("250ms"), 2490 * ms, Valid},
		{"later than 1 s after a stall of 250 ms", stall("250ms"), 2510 * ms, Invalid},
		{"after a stall of less than 250 ms", stall("249ms"), 2000 * ms, Invalid},
		{"after a fault that is not named", []history.Event{
			{Time: 500 * ms, Kind: history.Fault, Op: history.FaultStart, Object: "kill", Step: 1},
			{Time: 1500 * ms, Kind: history.Fault, Op: history.FaultStop, Object: "kill", Step: 1},
		}, 2000 * ms, Invalid},
	} {
		hold := func(client int16, at time.Duration, op string) history.Event {
			return history.Event{Time: at, Kind: history.Hold, Op: op, Object: "/lock", Client: client, Token: int64(client) + 1}
		}
		events := append([]history.Event{hold(0, ms, history.HoldBegin)}, one.events...)
		events = append(events, hold(1, one.from, history.HoldBegin), hold(0, one.from+ms, history.HoldEnd),
			hold(1, one.from+2*ms, history.HoldEnd), history.Event{Time: 4 * time.Second, Kind: history.Phase, Op: history.PhaseEnd})
		r := Run(t.Context(), history.New(events...), LockNoOverlap(Envelope{Outside: []string{"pause"}}))[0]
		if r.Verdict != one.want || (r.Exposure > 0) != (one.want == Valid) {
			t.Errorf("%s: %v with an exposure of %v, want %v", one.what, r.Verdict, r.Exposure, one.want)
		}
	}
}

// The span between a registration and its event counts as well as its ends.
func TestEnvelopeMeetsNoMore(t *testing.T) {
	w := windows{history.Nobody: {{10, 20}, {40, 50}}}
	for _, one := range []struct {
		from, to time.Duration
		want     bool
	}{
		{0, 9, false}, {0, 10, true}, {15, 16, true}, {20, 30, true}, {21, 39, false}, {0, 60, true}, {50, 60, true}, {51, 60, false},
	} {
		if got := w.meets(one.from, one.to); got != one.want {
			t.Errorf("meets(%d, %d) = %v, want %v", one.from, one.to, got, one.want)
		}
	}
}
