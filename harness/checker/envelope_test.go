package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

const ms = time.Millisecond

// A belated is a hold of client 0 that ends too late, at `to`. At `from`, the servers granted the
// same object to client 1, or ended the session of client 0.
type belated struct {
	from, to time.Duration
	op       string // how the hold of client 0 ends; empty if it does not end
	events   []history.Event
	reversed bool // client 0 was granted the object first, but its grant is recorded 1 ms after that of client 1
}

// The method `histories` returns one history for each property. Each history shows the belated hold
// in the form that the property judges.
func (b belated) histories() map[string]*history.History {
	all := make(map[string]*history.History)
	ids := []string{"lock/no-overlap", "rwlock/writer-alone", "semaphore/within-permits"}
	if b.reversed {
		ids = append(ids, "lock/grants-in-order", "rwlock/no-overtaking")
	} else {
		ids = append(ids, "lock/loss-before-expiry", "lock/own-node-is-first", "queue/nothing-twice")
	}
	for _, id := range ids {
		events := slices.Clone(b.events)
		add := func(at time.Duration, client int16, kind history.Kind, op, arg, result string) {
			e := history.Event{Time: at, Kind: kind, Op: op, Object: "/q/a", Arg: arg, Result: result, Client: client,
				Process: int32(client), Session: int64(client) + 1, Token: int64(client) + 1, Node: fmt.Sprintf("n-%d", client)}
			if op == OpPut || op == OpClaim {
				e.Object = "/q"
			}
			if op == OpVerify && result != "" {
				e.Session = 2 // the owner of the znode that was found
			}
			if client == history.Nobody {
				e.Process, e.Session, e.Token = history.Nobody, 1, 0
			}
			events = append(events, e)
		}
		arg := map[string]string{"rwlock/writer-alone": ModeWrite, "rwlock/no-overtaking": ModeWrite, "semaphore/within-permits": "1"}[id]
		begun := 3 * ms
		if b.reversed {
			begun = b.from + ms
		}
		add(begun, 0, history.Hold, history.HoldBegin, arg, "")
		switch id {
		case "lock/loss-before-expiry":
			add(b.from, history.Nobody, history.Session, history.SessionExpired, "", "")
		case "lock/own-node-is-first":
			add(4*ms, 0, history.Invoke, OpVerify, "", "")
			add(b.from, 0, history.OK, OpVerify, "", "n-1")
		case "queue/nothing-twice":
			add(1*ms, 2, history.Invoke, OpPut, "a", "")
			add(2*ms, 2, history.OK, OpPut, "", "")
			add(1*ms, 0, history.Invoke, OpClaim, "", "")
			add(2*ms, 0, history.OK, OpClaim, "", "a")
			add(4*ms, 1, history.Invoke, OpClaim, "", "")
			add(b.from, 1, history.OK, OpClaim, "", "a")
		default:
			add(b.from, 1, history.Hold, history.HoldBegin, arg, "")
		}
		if b.op != "" {
			add(b.to, 0, history.Hold, b.op, arg, "")
		}
		add(20*time.Second, history.Nobody, history.Phase, history.PhaseEnd, "", "")
		slices.SortStableFunc(events, func(a, b history.Event) int { return cmp.Compare(a.Time, b.Time) })
		all[id] = history.New(events...)
	}
	return all
}

func (b belated) checkers(envelope Envelope) map[string]Checker {
	return map[string]Checker{
		"lock/no-overlap":          LockNoOverlap(envelope),
		"lock/grants-in-order":     LockGrantsInOrder(envelope),
		"rwlock/writer-alone":      rwLockWriterAlone(envelope),
		"rwlock/no-overtaking":     rwLockNoOvertaking(envelope),
		"semaphore/within-permits": semaphoreWithinPermits(1, envelope),
		"lock/loss-before-expiry":  LockLossBeforeExpiry(envelope),
		"lock/own-node-is-first":   LockOwnNodeIsFirst(envelope),
		"queue/nothing-twice":      QueueNothingTwice(),
	}
}

// The method `judge` checks the verdict of each property. It expects the verdict `want`, and the
// opposite verdict for the properties in `except`. A Valid result must have exposure, and an
// Invalid result must have none.
func (b belated) judge(t *testing.T, what string, want Verdict, except ...string) {
	t.Helper()
	checkers := b.checkers(Envelope{Outside: []string{"pause"}})
	for id, h := range b.histories() {
		want := want
		if slices.Contains(except, id) {
			want = Invalid + Valid - want
		}
		r := Run(t.Context(), h, checkers[id])[0]
		if r.Verdict != want || (r.Exposure > 0) != (want == Valid) {
			t.Errorf("%s, %s: got %v with an exposure of %v, want %v: %s", what, id, r.Verdict, r.Exposure, want, r.Reason)
		}
	}
}

func stalled(at, length time.Duration) history.Event {
	return history.Event{Time: at, Kind: history.Fact, Op: history.FactStall, Result: length.String(), Client: history.Nobody, Process: history.Nobody}
}

func lagged(at, length time.Duration) history.Event {
	return history.Event{Time: at, Kind: history.Fact, Op: history.FactLag, Result: length.String(), Client: history.Nobody, Process: history.Nobody}
}

// The function `slowed` returns a FactLag of a busy machine: in the second before `at`, the delays
// of the timer were up to 90 ms long, and 900 ms in total.
func slowed(at time.Duration) []history.Event {
	e := lagged(at, 90*ms)
	e.Arg = "1s 900ms"
	return []history.Event{e}
}

// A stall excuses a late end of a hold only if it explains the whole delay. Regression: a stall of
// 0.37 s excused an overlap of 4 s, because the overlap began within a second after the stall.
func TestStallExcusesWhatItCanExplain(t *testing.T) {
	const lost, end = history.HoldLost, history.HoldEnd
	stall := []history.Event{stalled(1370*ms, 370*ms)}
	for _, one := range []struct {
		what string
		b    belated
		want Verdict
	}{
		{"lost 4 s after a stall of 0.37 s", belated{1371 * ms, 5371 * ms, lost, stall, false}, Invalid},
		{"given up 4 s after it", belated{1371 * ms, 5371 * ms, end, stall, false}, Invalid},
		{"never ended after it", belated{1371 * ms, 0, "", stall, false}, Invalid},
		{"granted in the second after it", belated{2000 * ms, 2001 * ms, lost, stall, false}, Invalid},
		{"granted before it", belated{989 * ms, 1371 * ms, lost, stall, false}, Invalid},
		{"lost 11 ms after it, without lag", belated{1371 * ms, 1381 * ms, lost, stall, false}, Invalid},

		{"the lease's timer was late, and lost the race", belated{1371 * ms, 1379 * ms, lost, stall, false}, Valid},
		{"the process that was granted it did not stand still", belated{1000 * ms, 1370 * ms, lost, stall, false}, Valid},
		{"the program gave it up as it ran again", belated{1371 * ms, 1379 * ms, end, stall, false}, Valid},
		{"with lag after it", belated{1371 * ms, 1385 * ms, lost, append([]history.Event{lagged(2000*ms, 15*ms)}, stall...), false}, Valid},
		{"late, and then the stall", belated{985 * ms, 1371 * ms, lost, append([]history.Event{lagged(2000*ms, 20*ms)}, stall...), false}, Valid},
		{"later than the lag, and then the stall", belated{985 * ms, 1391 * ms, lost, append([]history.Event{lagged(2000*ms, 20*ms)}, stall...), false}, Invalid},
		{"a second stall began before another tick", belated{1371 * ms, 1585 * ms, lost, append([]history.Event{stalled(1580*ms, 200*ms)}, stall...), false}, Valid},
		{"a second stall began later", belated{1371 * ms, 1585 * ms, lost, append([]history.Event{stalled(1580*ms, 180*ms)}, stall...), false}, Invalid},

		{"on a machine that rarely runs the process", belated{1100 * ms, 1700 * ms, lost, slowed(2000 * ms), false}, Valid},
		{"given up on such a machine", belated{1100 * ms, 1700 * ms, end, slowed(2000 * ms), false}, Invalid},
		{"later than such a machine explains", belated{1001 * ms, 1999 * ms, lost, slowed(2000 * ms), false}, Invalid},
		{"before the machine was busy", belated{1100 * ms, 1700 * ms, lost, slowed(3000 * ms), false}, Invalid},

		{"the grant was recorded late", belated{1371 * ms, 1379 * ms, lost, stall, true}, Valid},
		{"the grant was recorded late, and held for 4 s", belated{1371 * ms, 5371 * ms, lost, stall, true}, Invalid},
		{"the later grant was recorded before the stall", belated{900 * ms, 1379 * ms, lost, stall, true}, Invalid},
	} {
		one.b.judge(t, one.what, one.want)
	}
}

// A fault outside the envelope excuses the holds of the client that it affects, until the client's
// lease must have lapsed.
func TestFaultExcusesWhatItCanExplain(t *testing.T) {
	const lost = history.HoldLost
	fault := func(name, target string) []history.Event {
		e := history.Event{Kind: history.Fault, Object: name, Node: target, Step: 1, Client: history.Nobody, Process: history.Nobody}
		start, stop := e, e
		start.Time, start.Op = 500*ms, history.FaultStart
		stop.Time, stop.Op = 1500*ms, history.FaultStop
		return []history.Event{start, stop}
	}
	long := history.Event{Kind: history.Session, Op: history.SessionNew, Session: 7, Arg: "2s", Client: 3, Process: 3}
	for _, one := range []struct {
		what string
		b    belated
		want Verdict
	}{
		{"until 1 s after the fault", belated{600 * ms, 2500 * ms, lost, fault("pause", "c0"), false}, Valid},
		{"longer", belated{600 * ms, 2501 * ms, lost, fault("pause", "c0"), false}, Invalid},
		{"given up in time", belated{600 * ms, 2500 * ms, history.HoldEnd, fault("pause", "c0"), false}, Valid},
		{"never", belated{600 * ms, 0, "", fault("pause", "c0"), false}, Invalid},
		{"until a session timeout after the fault", belated{600 * ms, 3500 * ms, lost, append(fault("pause", "c0"), long), false}, Valid},
		{"longer than a session timeout", belated{600 * ms, 3501 * ms, lost, append(fault("pause", "c0"), long), false}, Invalid},
		{"longer, by the lag", belated{600 * ms, 2509 * ms, lost, append(fault("pause", "c0"), lagged(2600*ms, 9*ms)), false}, Valid},
		{"granted before the fault", belated{499 * ms, 2000 * ms, lost, fault("pause", "c0"), false}, Invalid},
		{"the fault hit the other client", belated{600 * ms, 2000 * ms, lost, fault("pause", "c1"), false}, Invalid},
		{"the fault hit a server", belated{600 * ms, 2000 * ms, lost, fault("pause", "n1"), false}, Valid},
		{"a fault that is not named", belated{600 * ms, 2000 * ms, lost, fault("kill", "n1"), false}, Invalid},
		{"the grant was recorded late", belated{600 * ms, 2000 * ms, lost, fault("pause", "c0"), true}, Valid},
		{"the grant was recorded late, by the other client", belated{600 * ms, 2000 * ms, lost, fault("pause", "c1"), true}, Invalid},
	} {
		if one.want == Valid { // faults do not excuse claims
			one.b.judge(t, one.what, one.want, "queue/nothing-twice")
			continue
		}
		one.b.judge(t, one.what, one.want)
	}
}

// If another client closes a session, a hold of the session may end late. The delay counts as
// exposure if it is at most Envelope.After. The lease of the session must lapse within this time.
func TestClosedSessionExposesUntilItsLeaseLapses(t *testing.T) {
	for late, want := range map[time.Duration]Verdict{1000 * ms: Valid, 1001 * ms: Invalid} {
		e := func(at time.Duration, kind history.Kind, op, arg string) history.Event {
			return history.Event{Time: at, Kind: kind, Op: op, Object: "/lock", Arg: arg, Session: 1, Token: 1}
		}
		h := history.New(e(ms, history.Hold, history.HoldBegin, ""), e(2*ms, history.Session, history.SessionExpired, "closed"),
			e(2*ms+late, history.Hold, history.HoldLost, ""), e(4000*ms, history.Phase, history.PhaseEnd, ""))
		if r := Run(t.Context(), h, LockLossBeforeExpiry(Envelope{}))[0]; r.Verdict != want {
			t.Errorf("lost %v after somebody closed the session: got %v, want %v: %s", late, r.Verdict, want, r.Reason)
		}
	}
}

// The method `meets` finds a fault on all clients that was active at any moment between two times,
// including both ends.
func TestEnvelopeMeetsFaultsBetween(t *testing.T) {
	w := windows{faults: map[int16][]window{history.Nobody: {{10, 20}, {40, 50}}}, stalls: []window{{0, 100}}}
	for _, one := range []struct {
		from, to time.Duration
		want     bool
	}{
		{0, 9, false}, {0, 10, true}, {15, 16, true}, {20, 30, true}, {21, 39, false}, {0, 60, true}, {50, 60, true}, {51, 60, false},
	} {
		if got := w.meets(one.from, one.to); got != one.want {
			t.Errorf("meets(%d, %d): got %v, want %v", one.from, one.to, got, one.want)
		}
	}
}

// A lost hold that ends late is excused if the delay is shorter than the lag of the timers. A hold
// that the program gives up must end in time. Regression: on a busy machine, a claim was recorded
// 14 us before the loss of the previous claim, and the run was invalid.
func TestLagExcusesShorterLosses(t *testing.T) {
	for _, one := range []struct {
		what    string
		lag     time.Duration // the measured lag
		at      time.Duration // when it was measured
		end     string
		overlap time.Duration
		want    Verdict
	}{
		{"lost, shorter", 15 * ms, 2100 * ms, history.HoldLost, 14 * ms, Valid},
		{"lost, as long", 15 * ms, 2100 * ms, history.HoldLost, 15 * ms, Invalid},
		{"lost, measured in the second after it", 15 * ms, 2900 * ms, history.HoldLost, 14 * ms, Valid},
		{"lost, measured before it", 15 * ms, 1999 * ms, history.HoldLost, 14 * ms, Invalid},
		{"lost, measured later", 15 * ms, 3015 * ms, history.HoldLost, 14 * ms, Invalid},
		{"lost, measured for longer than usual", 15 * ms, 3015 * ms, history.HoldLost, 14 * ms, Valid},
		{"given up", 15 * ms, 2100 * ms, history.HoldEnd, 14 * ms, Invalid},
		{"lost, no lag", 0, 2100 * ms, history.HoldLost, 1 * ms, Invalid},
	} {
		for _, reversed := range []bool{false, true} {
			b := belated{2000 * ms, 2000*ms + one.overlap, one.end, nil, reversed}
			if one.lag > 0 {
				b.events = append(b.events, lagged(one.at, one.lag))
				if strings.HasSuffix(one.what, "longer than usual") {
					b.events[0].Arg = "1.1s" // a stall delayed the record
				}
			}
			if reversed && one.overlap == ms {
				continue // the hold of client 0 would have no length
			}
			b.judge(t, fmt.Sprintf("%s, reversed %v", one.what, reversed), one.want)
		}
	}
}
