package checker

import (
	"cmp"
	"slices"
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
	w := windows{of: map[int16][]window{history.Nobody: {{10, 20}, {40, 50}}}}
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

// Found on a machine with other work: a claim was recorded 14 us before the loss of the claim before it, and the run
// was invalid. What a busy machine makes of a loss is exposure. What a program gives up has to end in time.
func TestLagExcusesShorterLosses(t *testing.T) {
	const ms = time.Millisecond
	for _, one := range []struct {
		what    string
		lag     time.Duration // as it was measured
		at      time.Duration // when
		end     string
		overlap time.Duration
		want    Verdict
	}{
		{"lost, shorter", 15 * ms, 2100 * ms, history.HoldLost, 14 * ms, Valid},
		{"lost, as long", 15 * ms, 2100 * ms, history.HoldLost, 15 * ms, Invalid},
		{"lost, measured in the second after it", 15 * ms, 2900 * ms, history.HoldLost, 14 * ms, Valid},
		{"lost, measured before it", 15 * ms, 1999 * ms, history.HoldLost, 14 * ms, Invalid},
		{"lost, measured later", 15 * ms, 3015 * ms, history.HoldLost, 14 * ms, Invalid},
		{"given up", 15 * ms, 2100 * ms, history.HoldEnd, 14 * ms, Invalid},
		{"lost, no lag", 0, 2100 * ms, history.HoldLost, 1 * ms, Invalid},
	} {
		for id, check := range map[string]Checker{
			"lock/no-overlap":          LockNoOverlap(Envelope{}),
			"rwlock/writer-alone":      rwLockWriterAlone(Envelope{}),
			"semaphore/within-permits": semaphoreWithinPermits(1, Envelope{}),
			"lock/loss-before-expiry":  LockLossBeforeExpiry(Envelope{}),
			"queue/nothing-twice":      QueueNothingTwice(),
		} {
			e := func(at time.Duration, client int16, kind history.Kind, op, object, what string) history.Event {
				return history.Event{Time: at, Kind: kind, Op: op, Object: object, Arg: what, Result: what, Client: client,
					Process: int32(client), Session: int64(client) + 1, Token: int64(client) + 1}
			}
			begin, end := 2000*ms, 2000*ms+one.overlap
			var events []history.Event
			switch id {
			case "lock/loss-before-expiry":
				expired := e(begin, 0, history.Session, history.SessionExpired, "", "")
				expired.Client, expired.Process = history.Nobody, history.Nobody
				events = []history.Event{e(ms, 0, history.Hold, history.HoldBegin, "/q/a", ""), expired, e(end, 0, history.Hold, one.end, "/q/a", "")}
			case "queue/nothing-twice":
				events = []history.Event{
					e(1*ms, 0, history.Invoke, OpPut, "/q", "a"), e(2*ms, 0, history.OK, OpPut, "/q", ""),
					e(3*ms, 0, history.Invoke, OpClaim, "/q", ""), e(4*ms, 0, history.OK, OpClaim, "/q", "a"),
					e(5*ms, 1, history.Invoke, OpClaim, "/q", ""), e(begin, 1, history.OK, OpClaim, "/q", "a"),
					e(end, 0, history.Hold, one.end, "/q/a", ""),
				}
			default:
				events = []history.Event{e(ms, 0, history.Hold, history.HoldBegin, "/q/a", ModeWrite), e(begin, 1, history.Hold, history.HoldBegin, "/q/a", ModeWrite),
					e(end, 0, history.Hold, one.end, "/q/a", ModeWrite)}
				if id == "semaphore/within-permits" {
					for i := range events {
						events[i].Arg = "1"
					}
				}
			}
			if one.lag > 0 {
				events = append(events, history.Event{Time: one.at, Kind: history.Fact, Op: history.FactLag, Result: one.lag.String(),
					Client: history.Nobody, Process: history.Nobody})
			}
			events = append(events, history.Event{Time: 4 * time.Second, Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody})
			slices.SortStableFunc(events, func(a, b history.Event) int { return cmp.Compare(a.Time, b.Time) })
			r := Run(t.Context(), history.New(events...), check)[0]
			if r.Verdict != one.want || (r.Exposure > 0) != (one.want == Valid) {
				t.Errorf("%s, %s: %v with an exposure of %v, want %v: %s", id, one.what, r.Verdict, r.Exposure, one.want, r.Reason)
			}
		}
	}
}
