package checker

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// A machine that was busy for a part of a wait excuses only this part of the wait. Regression: a
// stall of 0.1 s, or one late answer of a server, changed the verdict on an endless wait from
// invalid to unknown.
func TestBusyTimeExcusesOnlyItself(t *testing.T) {
	role := func(at time.Duration, result string) history.Event {
		return history.Event{Time: at, Kind: history.Fact, Op: history.FactRole, Node: "n1", Result: result, Client: history.Nobody, Process: history.Nobody}
	}
	phase := func(at time.Duration, op string) history.Event {
		return history.Event{Time: at, Kind: history.Phase, Op: op, Client: history.Nobody, Process: history.Nobody}
	}
	for _, one := range []struct {
		what   string
		events []history.Event
		took   time.Duration // more than 1 s is too long
		want   Verdict
	}{
		{"nothing", nil, 1001 * ms, Invalid},
		{"nothing, in time", nil, 1000 * ms, Valid},
		{"a stall", []history.Event{stalled(2300*ms, 200*ms)}, 1200 * ms, Unknown},
		{"a stall that is shorter than the rest", []history.Event{stalled(2300*ms, 200*ms)}, 1201 * ms, Invalid},
		{"a stall before", []history.Event{stalled(1990*ms, 200*ms)}, 1100 * ms, Invalid},
		{"half a stall before", []history.Event{stalled(2100*ms, 200*ms)}, 1101 * ms, Invalid},
		{"a stall after", []history.Event{stalled(4000*ms, 200*ms)}, 1100 * ms, Invalid},
		{"a silent server", []history.Event{role(2300*ms, history.RoleSilent), role(2600*ms, "follower")}, 1300 * ms, Unknown},
		{"a server that was silent for less", []history.Event{role(2300*ms, history.RoleSilent), role(2600*ms, "follower")}, 1301 * ms, Invalid},
		{"a stall while a server was silent", []history.Event{role(2300*ms, history.RoleSilent), stalled(2500*ms, 100*ms), role(2600*ms, "follower")}, 1301 * ms, Invalid},
		{"a server that was down", []history.Event{role(2300*ms, "down"), role(2600*ms, "follower")}, 1300 * ms, Invalid},
		{"a server that stays silent", []history.Event{role(2300*ms, history.RoleSilent)}, 1300 * ms, Unknown},
	} {
		e := func(at time.Duration, client int16, kind history.Kind, op, arg, result string) history.Event {
			return history.Event{Time: at, Kind: kind, Op: op, Object: "/a", Arg: arg, Result: result, Client: client, Process: int32(client), Session: int64(client) + 1, Token: 1, Round: 1}
		}
		over := 2000*ms + one.took
		for id, test := range map[string]struct {
			checker Checker
			events  []history.Event
		}{
			"client/waiters-served": {WaitersServed(OpAcquire, time.Second), []history.Event{
				e(ms, 0, history.Invoke, OpAcquire, "", ""), e(over, 0, history.OK, OpAcquire, "", "")}},
			"barrier/opens-in-time": {BarrierOpensInTime(time.Second), []history.Event{
				e(ms, 0, history.Invoke, OpWait, "", ""), e(ms, 1, history.Invoke, OpRemove, "", ""), e(2*ms, 1, history.OK, OpRemove, "", ""), e(over, 0, history.OK, OpWait, "", "")}},
			"queue/takers-wake": {QueueTakersWake(time.Second), []history.Event{
				e(ms, 0, history.Invoke, OpTake, "", ""), e(ms, 1, history.Invoke, OpPut, "x", ""), e(2*ms, 1, history.OK, OpPut, "", ""), e(over, 0, history.OK, OpTake, "", "")}},
			"double-barrier/rounds-go-on": {doubleBarrierRoundsGoOn(time.Second), []history.Event{
				e(ms, 0, history.Invoke, OpEnter, "", ""), e(ms, 1, history.Invoke, OpEnter, "", ""), e(2*ms, 1, history.OK, OpEnter, "", ""), e(over, 0, history.OK, OpEnter, "", "")}},
			"election/leader-after-heal": {electionLeaderAfterHeal(time.Second), []history.Event{
				e(over, 0, history.Hold, history.HoldBegin, "", "")}},
		} {
			events := append(slices.Clone(one.events), phase(2000*ms, history.PhaseHealed), phase(10*time.Second, history.PhaseQuiesce), phase(20*time.Second, history.PhaseEnd))
			events = append(events, test.events...)
			slices.SortStableFunc(events, func(a, b history.Event) int { return cmp.Compare(a.Time, b.Time) })
			if r := Run(t.Context(), history.New(events...), test.checker)[0]; r.Verdict != one.want {
				t.Errorf("%s, %s: got %v, want %v: %s", one.what, id, r.Verdict, one.want, r.Reason)
			}
		}
	}
}

// On a busy machine, a leader may fail to renew its lease and lose its term. The checker considers
// the period from one session timeout before the loss until the loss. If the machine was busy for
// at least a quarter of this period, the verdict is Unknown. Otherwise the verdict is Invalid.
func TestTermLostOnABusyMachineIsUnknown(t *testing.T) {
	late := func(at time.Duration, delays string) history.Event {
		e := lagged(at, 90*ms)
		e.Arg = "1s " + delays
		return e
	}
	for _, one := range []struct {
		what  string
		stall history.Event
		want  Verdict
	}{
		{"a stall of a quarter of the timeout", stalled(6900*ms, 500*ms), Unknown},
		{"timers that are late by as much in total", late(6900*ms, "500ms"), Unknown},
		{"timers that are late by less", late(6900*ms, "499ms"), Invalid},
		{"timers that were late by as much before", late(5000*ms, "500ms"), Invalid},
		{"a shorter one", stalled(6900*ms, 499*ms), Invalid},
		{"one that was over a timeout before", stalled(4999*ms, 500*ms), Invalid},
	} {
		hold := func(at time.Duration, op string) history.Event {
			return history.Event{Time: at, Kind: history.Hold, Op: op, Object: "/a", Token: 1}
		}
		events := []history.Event{{Time: ms, Kind: history.Session, Op: history.SessionNew, Session: 1, Arg: "2s"}, hold(2*ms, history.HoldBegin),
			{Time: 2000 * ms, Kind: history.Phase, Op: history.PhaseHealed}, one.stall, hold(7000*ms, history.HoldLost),
			{Time: 10 * time.Second, Kind: history.Phase, Op: history.PhaseQuiesce}, {Time: 20 * time.Second, Kind: history.Phase, Op: history.PhaseEnd}}
		if r := Run(t.Context(), history.New(events...), electionLeaderAfterHeal(time.Second))[0]; r.Verdict != one.want {
			t.Errorf("%s: got %v, want %v: %s", one.what, r.Verdict, one.want, r.Reason)
		}
	}
}

// A waiter may wait for inTime, plus one hold of each client: see WaitersServed. Regression: with
// 500 clients, a run was invalid because the holds of all other clients together took longer than
// inTime.
func TestWaiterIsServedAfterOneHoldOfEachOther(t *testing.T) {
	for _, one := range []struct {
		what   string
		served time.Duration
		holder int16 // of the second hold
		want   Verdict
	}{
		{"in time", 5 * time.Second, 2, Valid},
		{"late", 5*time.Second + ms, 2, Invalid},
		{"after one client held twice", 5 * time.Second, 1, Invalid},
	} {
		e := func(at time.Duration, kind history.Kind, client int16, op string, token int64) history.Event {
			return history.Event{Time: at, Kind: kind, Op: op, Object: "/a", Client: client, Process: int32(client), Token: token}
		}
		h := history.New(
			e(ms, history.Invoke, 0, OpAcquire, 0),
			history.Event{Time: 1000 * ms, Kind: history.Phase, Op: history.PhaseHealed, Client: history.Nobody, Process: history.Nobody},
			e(1000*ms, history.Hold, 1, history.HoldBegin, 1), e(2500*ms, history.Hold, 1, history.HoldEnd, 1),
			e(2500*ms, history.Hold, one.holder, history.HoldBegin, 2), e(4000*ms, history.Hold, one.holder, history.HoldEnd, 2),
			e(one.served, history.OK, 0, OpAcquire, 3),
			history.Event{Time: 9000 * ms, Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody},
		)
		if r := Run(t.Context(), h, WaitersServed(OpAcquire, time.Second))[0]; r.Verdict != one.want {
			t.Errorf("%s: got %v, want %v: %s", one.what, r.Verdict, one.want, r.Reason)
		}
	}
}
