package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zkcoord/zkcoord/harness/history"
)

// randomHolds returns a history in which a few clients begin, end and lose holds in any order.
// There are few objects, so overlaps are frequent.
func randomHolds(r *rand.Rand, n int, mode func(*rand.Rand) string) *history.History {
	var events []history.Event
	open := make(map[int16]history.Event)
	token := int64(0)
	for range n {
		c := int16(r.IntN(3))
		e, holds := open[c]
		if holds {
			e.Op = history.HoldEnd
			if r.IntN(3) == 0 {
				e.Op = history.HoldLost
			}
			delete(open, c)
		} else {
			token++
			e = history.Event{Kind: history.Hold, Op: history.HoldBegin, Client: c, Process: int32(c), Token: token,
				Object: [2]string{"/a", "/b"}[r.IntN(5)/4], Arg: mode(r)}
			open[c] = e
		}
		events = append(events, e)
	}
	return history.New(append(events, end())...)
}

// The function `faulty` inserts one or two faults outside the envelope at random places of a
// history. It also replaces all times by random ones.
func faulty(r *rand.Rand, h *history.History) *history.History {
	all := slices.Clone(h.Events)
	for round := range int32(1 + r.IntN(2)) {
		client := r.IntN(4)
		fault := history.Event{Kind: history.Fault, Op: history.FaultStart, Object: "pause", Node: fmt.Sprintf("c%d", client), Step: round}
		if client == 3 {
			fault.Node = "n1" // a fault that affects all clients
		}
		for range 2 {
			all = slices.Insert(all, r.IntN(len(all)), fault)
		}
		stop := 0
		for i := range all {
			if all[i].Kind == history.Fault && all[i].Step == round {
				stop = i
			}
		}
		all[stop].Op, all[stop].Result = history.FaultStop, "paused"
	}
	now := time.Millisecond
	for i := range all {
		all[i].Time = now
		now += time.Duration(r.IntN(3)) * time.Millisecond / 2
	}
	return history.New(all...)
}

var paused = Envelope{Outside: []string{"pause"}, After: time.Millisecond}

// The function `excused` reports whether faults excuse a hold. It applies the definition of an
// excuse: at each moment from the given time to the end of the hold, there must be a fault on the
// client or on all clients. A fault counts from the event that starts it until 1 ms after the event
// that stops it. This 1 ms is the field After of the envelope `paused`. Times are multiples of
// 0.5 ms, so a check at each 0.25 ms is enough.
func excused(h *history.History, hold history.HoldInterval, from time.Duration) bool {
	to := h.End()
	if hold.End != nil {
		to = hold.End.Time
	}
	var stood []window
	for _, stop := range h.Events {
		for _, start := range h.Events {
			if stop.Op == history.FaultStop && start.Op == history.FaultStart && start.Step == stop.Step && (stop.Node == "n1" || stop.Node == hold.Begin.Who()) {
				stood = append(stood, window{start.Time, stop.Time + paused.After})
			}
		}
	}
	for at := from; at <= to; at += time.Millisecond / 4 {
		if !slices.ContainsFunc(stood, func(w window) bool { return w.from <= at && at <= w.to }) {
			return false
		}
	}
	return true
}

// everyMoment is the oracle for holds. At each moment at which a hold begins, it collects the
// clients that hold the same object, including the new holder. A client that is notified of a loss
// at the same moment is left out. The function `allowed` must accept one of two sets: all these
// clients, or these clients without the earlier holders that a fault excuses.
func everyMoment(h *history.History, allowed func(holders []history.Event) bool) bool {
	for _, next := range h.Holds() {
		at := next.Begin
		var holders, healthy []history.Event
		for _, hold := range h.Holds() {
			gone := hold.Lost() && hold.End.Time == at.Time && hold.Begin != at
			if gone || hold.Begin.Object != at.Object || hold.Begin.Index > at.Index || at.Index >= hold.Last() {
				continue
			}
			holders = append(holders, *hold.Begin)
			if hold.Begin == at || !excused(h, hold, at.Time) {
				healthy = append(healthy, *hold.Begin)
			}
		}
		if !allowed(holders) && !allowed(healthy) {
			return false
		}
	}
	return true
}

func TestHoldCheckersAgreeWithTheOracle(t *testing.T) {
	none := func(*rand.Rand) string { return "" }
	for _, c := range []struct {
		checker Checker
		mode    func(*rand.Rand) string
		allowed func([]history.Event) bool
	}{
		{ElectionNoOverlap(paused), none, func(set []history.Event) bool { return len(set) <= 1 }},
		{LockNoOverlap(paused), none, func(set []history.Event) bool { return len(set) <= 1 }},
		{semaphoreWithinPermits(2, paused), func(r *rand.Rand) string { return fmt.Sprint(1 + r.IntN(2)) }, func(set []history.Event) bool {
			sum := 0
			for _, e := range set {
				sum += number(e.Arg, 1)
			}
			return sum <= 2
		}},
		{rwLockWriterAlone(paused), func(r *rand.Rand) string { return [3]string{ModeRead, ModeRead, ModeWrite}[r.IntN(3)] }, func(set []history.Event) bool {
			for _, e := range set {
				if e.Arg == ModeWrite && len(set) > 1 {
					return false
				}
			}
			return true
		}},
	} {
		id := c.checker.Properties()[0].ID
		r := rand.New(rand.NewPCG(5, 6))
		legal, illegal := 0, 0
		for range 5000 {
			h := randomHolds(r, 1+r.IntN(8), c.mode)
			if r.IntN(2) == 0 {
				h = faulty(r, h)
			}
			want := everyMoment(h, c.allowed)
			got := Run(t.Context(), h, c.checker)[0].Verdict != Invalid
			if want {
				legal++
			} else {
				illegal++
			}
			if got != want {
				for _, e := range h.Events {
					t.Log(e)
				}
				t.Fatalf("%s: the history above: got legal %t, want %t by the oracle",
					id, got, want)
			}
		}
		if legal < 500 || illegal < 500 {
			t.Errorf("%s: got %d legal and %d illegal histories, want at least 500 of each", id, legal, illegal)
		}
	}
}

// The oracle of this test compares each grant with each earlier grant.
func TestOrderCheckersAgreeWithTheOracleUnderFaults(t *testing.T) {
	for id, wrong := range sorted(map[string]func(a, b *history.Event) bool{
		"lock/grants-in-order": func(a, b *history.Event) bool { return a.Token >= b.Token },
		"rwlock/no-overtaking": func(a, b *history.Event) bool { return a.Token > b.Token && (a.Arg == ModeWrite || b.Arg == ModeWrite) },
	}) {
		checker := map[string]Checker{"lock/grants-in-order": LockGrantsInOrder(paused), "rwlock/no-overtaking": rwLockNoOvertaking(paused)}[id]
		r := rand.New(rand.NewPCG(13, 14))
		legal, illegal := 0, 0
		for range 5000 {
			h := faulty(r, tinyModes(r, 1+r.IntN(12)))
			want := true
			for i, b := range h.Holds() {
				for _, a := range h.Holds()[:i] {
					want = want && (!wrong(a.Begin, b.Begin) || excused(h, b, a.Begin.Time))
				}
			}
			if got := Run(t.Context(), h, checker)[0].Verdict != Invalid; got != want {
				t.Fatalf("%s: got legal %t, want %t by the oracle\n%s", id, got, want, listing(h))
			}
			if want {
				legal++
			} else {
				illegal++
			}
		}
		if t.Logf("%s: %d legal, %d illegal", id, legal, illegal); legal < 500 || illegal < 500 {
			t.Errorf("%s: got %d legal and %d illegal histories, want at least 500 of each", id, legal, illegal)
		}
	}
}

// lockHistory returns a long legal history of a FIFO lock that guards a resource. Clients queue up,
// hold, verify and write, and sometimes lose the lock with their session.
func lockHistory(r *rand.Rand, n int) []history.Event {
	var events []history.Event
	var line []int16
	waiting := make(map[int16]bool)
	value := 0
	var sessions [5]int64 // number of lost sessions of each client
	event := func(c int16, e history.Event) {
		e.Client, e.Process, e.Object, e.Session = c, int32(c), "/lock", 5*sessions[c]+int64(c)+1
		events = append(events, e)
	}
	for token := int64(1); token <= int64(n); token++ {
		for len(line) == 0 || len(line) < 4 && r.IntN(2) == 0 {
			if c := int16(r.IntN(5)); !waiting[c] {
				waiting[c], line = true, append(line, c)
				event(c, history.Event{Kind: history.Invoke, Op: OpAcquire})
			}
		}
		c := line[0]
		line = line[1:]
		delete(waiting, c)
		event(c, history.Event{Kind: history.OK, Op: OpAcquire, Token: token})
		node := fmt.Sprintf("lock-%010d", token)
		event(c, history.Event{Kind: history.Hold, Op: history.HoldBegin, Token: token, Node: node})
		event(c, history.Event{Kind: history.Invoke, Op: OpVerify, Token: token, Node: node})
		event(c, history.Event{Kind: history.OK, Op: OpVerify, Result: node})
		value++
		event(c, history.Event{Kind: history.Write, Op: history.WriteAccepted, Arg: "write", Token: token, Result: fmt.Sprint(value)})
		how := history.HoldEnd
		if r.IntN(4) == 0 {
			how = history.HoldLost
		}
		event(c, history.Event{Kind: history.Hold, Op: how, Token: token})
		event(c, history.Event{Kind: history.Invoke, Op: OpRelease, Token: token})
		done := history.OK
		if how == history.HoldLost {
			done = history.Fail
		}
		event(c, history.Event{Kind: done, Op: OpRelease})
		if how == history.HoldLost {
			event(c, history.Event{Kind: history.Session, Op: history.SessionExpired})
			sessions[c]++
		}
	}
	return events
}

// The function `pick` returns the index of a random event for which the function `fits` returns
// true.
func pick(r *rand.Rand, events []history.Event, fits func(*history.Event) bool) int {
	var all []int
	for i := range events {
		if fits(&events[i]) {
			all = append(all, i)
		}
	}
	return all[r.IntN(len(all))]
}

func is(kind history.Kind, op string) func(*history.Event) bool {
	return func(e *history.Event) bool { return e.Kind == kind && e.Op == op }
}

// The test shows: if the checkers find no violation of a register property, the history is
// linearizable. The checkers take the order of operations from the zxids, and porcupine searches
// for an order.
func TestRegisterCheckersAgainstPorcupine(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	valid, invalid := 0, 0
	for range 5000 {
		ops, h := randomRegister(r, 2+r.IntN(6))
		verdict := Overall(Run(t.Context(), h, registerWritesLinearizable(), IfExercised(registerReadsAfterSync()), IfExercised(registerReadsSequential())))
		linearizable := porcupine.CheckOperations(registerModel, ops)
		switch {
		case verdict == Invalid:
			invalid++
		case !linearizable:
			for _, e := range h.Events {
				t.Log(e)
			}
			t.Fatalf("the history above: got %v, want %v, because porcupine finds it not "+
				"linearizable", verdict, Invalid)
		default:
			valid++
		}
	}
	if valid < 500 || invalid < 500 {
		t.Errorf("got %d valid and %d invalid histories, want at least 500 of each", valid, invalid)
	}
}

type registerOp struct {
	write bool
	value string
}

var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		op := input.(registerOp)
		if op.write {
			return true, op.value
		}
		return output == state, state
	},
}

// randomRegister returns random writes, and random reads that follow a sync. Each operation takes
// effect at a random moment and gets the zxid of that moment. Three quarters of the histories are
// falsified.
func randomRegister(r *rand.Rand, n int) ([]porcupine.Operation, *history.History) {
	var events []history.Event
	var ops []porcupine.Operation
	open := make(map[int]int) // process -> index of its operation, or -1-index after the operation took effect
	value, zxid, begun := "", int64(1), 0
	done := make([]history.Event, n)
	for begun < n || len(open) > 0 {
		p := r.IntN(3)
		at, busy := open[p]
		e := history.Event{Kind: history.Invoke, Object: "/x", Process: int32(p), Client: int16(p)}
		switch {
		case !busy && begun < n:
			op := registerOp{write: r.IntN(2) == 0, value: fmt.Sprint(begun)}
			e.Op, e.Arg = OpRead, "sync"
			if op.write {
				e.Op, e.Arg = OpSetValue, op.value
			}
			ops = append(ops, porcupine.Operation{ClientId: p, Input: op, Call: int64(len(events))})
			events = append(events, e)
			open[p] = begun
			begun++
		case busy && at >= 0:
			op := ops[at].Input.(registerOp)
			e.Kind, e.Op = history.OK, OpRead
			if op.write {
				zxid++
				e.Op, value = OpSetValue, op.value
			} else {
				e.Result, ops[at].Output = value, value
			}
			e.Zxid = zxid
			done[at] = e
			open[p] = -1 - at
		case busy:
			at = -1 - at
			ops[at].Return = int64(len(events))
			events = append(events, done[at])
			delete(open, p)
		}
	}
	if r.IntN(4) > 0 {
		falsify(r, ops, events)
	}
	return ops, history.New(append(events, end())...)
}

// The function `falsify` gives one read the value and the zxid of another operation.
func falsify(r *rand.Rand, ops []porcupine.Operation, events []history.Event) {
	var reads, all []int
	for i := range events {
		if events[i].Kind == history.OK {
			all = append(all, i)
			if events[i].Op == OpRead {
				reads = append(reads, i)
			}
		}
	}
	if len(reads) == 0 {
		return
	}
	read, other := reads[r.IntN(len(reads))], all[r.IntN(len(all))]
	value := events[other].Result
	for i := range ops {
		if ops[i].Return == int64(other) && ops[i].Input.(registerOp).write {
			value = ops[i].Input.(registerOp).value
		}
	}
	events[read].Result, events[read].Zxid = value, events[other].Zxid
	for i := range ops {
		if ops[i].Return == int64(read) {
			ops[i].Output = value
		}
	}
}
