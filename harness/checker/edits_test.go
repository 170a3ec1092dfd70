package checker

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

type events = []history.Event

// An edit changes a random legal history so that one property is violated.
type edit struct {
	draw  func(r *rand.Rand) events
	spoil func(r *rand.Rand, e events) events
}

// The test shows that each checker accepts long legal histories, and that the edit for a property
// makes this property invalid.
func TestOneEditOfALegalHistoryIsFlagged(t *testing.T) {
	checkers := underTest()
	for id, edit := range sorted(edits()) {
		r := rand.New(rand.NewPCG(7, 8))
		for n := range 100 {
			drawn := edit.draw(r)
			if v := Run(t.Context(), whole(slices.Clone(drawn)), checkers[id])[0]; v.Verdict != Valid {
				t.Errorf("%s: verdict on legal history %d: got %v, want %v: %s",
					id, n, v.Verdict, Valid, v.Reason)
				break
			}
			broken := whole(edit.spoil(r, drawn))
			if v := Run(t.Context(), broken, checkers[id])[0]; v.Verdict != Invalid {
				t.Errorf("%s: verdict on history %d after the edit: got %v, want %v: %s",
					id, n, v.Verdict, Invalid, v.Reason)
				break
			}
		}
	}
}

// The function `whole` adds the end of the history, at the time of the last event.
func whole(e events) *history.History {
	last := end()
	last.Time = e[len(e)-1].Time
	return history.New(append(e, last)...)
}

func edits() map[string]edit {
	locks := func(r *rand.Rand) events { return lockHistory(r, 100) }
	// The holds of a lock do not overlap. So the history stays legal if each client is a writer, or
	// takes all permits.
	greedy := func(mode string) func(*rand.Rand) events {
		return func(r *rand.Rand) events { return set(locks(r), history.Hold, mode) }
	}
	watches := func(r *rand.Rand) events { return watchHistory(r, 400) }
	return map[string]edit{
		"lock/tokens-rise":           {locks, tokenOfLater(OpAcquire)},
		"lock/fenced-writes":         {locks, resourceForgets},
		"lock/no-false-refusal":      {refusing(locks), alter(history.Write, history.WriteRejected, func(e *history.Event) { e.Token += 100000 })},
		"lock/no-overlap":            {locks, holdGoesOn},
		"lock/no-release-after-loss": {locks, alter(history.Fail, OpRelease, func(e *history.Event) { e.Kind = history.OK })},
		"lock/own-node-is-first":     {locks, alter(history.OK, OpVerify, func(e *history.Event) { e.Result = "lock-0000000000" })},
		"client/nothing-left":        {facts(locks, history.FactLeft, "0", "znodes", "goroutines"), alter(history.Fact, history.FactLeft, func(e *history.Event) { e.Result = "1" })},
		"client/waiters-served":      {healed(locks), late(history.OK, OpAcquire)},
		"lock/grants-in-order":       {locks, inSecondHalf(history.Hold, history.HoldBegin, func(e *history.Event) { e.Token = 0 })},
		"lock/loss-before-expiry":    {locks, expiresBeforeItIsTold},
		"rwlock/writer-alone":        {greedy(ModeWrite), holdGoesOn},
		"rwlock/no-overtaking":       {greedy(ModeWrite), inSecondHalf(history.Hold, history.HoldBegin, func(e *history.Event) { e.Token = 0 })},
		"semaphore/within-permits":   {greedy("2"), holdGoesOn},
		"semaphore/no-permit-lost":   {facts(locks, FactPermits, "2", "/lock"), alter(history.Fact, FactPermits, func(e *history.Event) { e.Result = "1" })},

		"election/epochs-rise":         {some(elected), tokenOfLater(OpCampaign)},
		"election/one-leader-an-epoch": {some(elected), termOfEarlier(1)},
		"election/no-overlap":          {some(elected), holdGoesOn},
		"election/fenced-writes":       {some(elected), resourceForgets},
		"election/heir-sees-all":       {some(elected), inSecondHalf(history.OK, OpInherit, func(e *history.Event) { e.Result = fmt.Sprint(number(e.Result, 0) - 1) })},
		"election/loss-before-reelection": {some(elected), func(r *rand.Rand, e events) events {
			i := pick(r, e[:len(e)/2], is(history.Hold, history.HoldEnd))
			return slices.Delete(e, i, i+1)
		}},
		"election/leader-after-heal":     {calm, inSecondHalf(history.Hold, history.HoldEnd, func(e *history.Event) { e.Op = history.HoldLost })},
		"election/observers-see-leaders": {some(elected), inSecondHalf(history.OK, OpLeader, func(e *history.Event) { e.Token-- })},
		"election/no-epoch-twice":        {some(elected), termOfEarlier(8)},

		"group/members-listed":     {some(grouped), answered(OpMembers, "")},
		"group/no-stranger-listed": {some(grouped), answered(OpMembers, "nobody")},
		"group/changes-add-up":     {some(followed), alter(history.Watch, WatchMembers, func(e *history.Event) { e.Arg += "1" })},
		"group/followers-converge": {some(followed), func(r *rand.Rand, e events) events {
			e[len(e)-1].Result = "somebody"
			return e
		}},

		"queue/nothing-invented": {line, answered(OpTake, "nothing")},
		"queue/nothing-lost":     {line, alter(history.OK, OpTake, func(e *history.Event) { e.Kind = history.Fail }, delivers)},
		"queue/nothing-twice":    {line, again},
		"queue/fifo-order":       {line, lastTwoSwapped},
		"queue/empty-is-true":    {line, answered(OpTake, "")},
		"queue/takers-wake":      {healed(line), func(_ *rand.Rand, e events) events { return lateFrom(e, len(e)-5) }}, // the last item is in the queue during the delayed take
		"queue/drained-is-empty": {facts(line, history.FactLeft, "0", "items"), alter(history.Fact, history.FactLeft, func(e *history.Event) { e.Result = "1" })},
		"queue/priority-order":   {urgentLine, lastTwoSwapped},
		"queue/ack-with-effect":  {acknowledged, alter(history.Fact, FactEffect, func(e *history.Event) { e.Op = "nothing" })},

		"barrier/no-early-pass": {gated, func(r *rand.Rand, e events) events {
			i := pick(r, e, is(history.OK, OpWait))
			return moved(e, i, i-2) // the wait now completes before the remove
		}},
		"barrier/opens-in-time":     {healed(gated), late(history.OK, OpWait)},
		"barrier/no-missed-removal": {slow(healed(gated)), late(history.OK, OpWait)},
		"double-barrier/enter-together": {some(numbered), inRound(func(round, _ events) events {
			return slices.DeleteFunc(round, func(e history.Event) bool { return e.Client > 1 })
		})},
		"double-barrier/no-quitter-counts": {some(numbered), inRound(func(round, _ events) events {
			for _, gaveUp := range []int{4, 5} {
				round[gaveUp].Kind = history.Fail
				round = moved(round, gaveUp, gaveUp-2) // the member now gives up before the last two members come
			}
			return round
		})},
		"double-barrier/leave-together":  {some(numbered), inRound(func(round, _ events) events { return moved(round, 12, 9) })},
		"double-barrier/rounds-in-order": {some(numbered), inRound(func(round, next events) events { return slices.Insert(round, 8, next[0], next[4]) })},
		"double-barrier/rounds-go-on": {healed(some(numbered)), func(r *rand.Rand, e events) events {
			op := [2]string{OpEnter, OpLeave}[r.IntN(2)]
			return late(history.OK, op, func(e *history.Event) bool { return e.Client > 0 })(r, e)
		}},

		"register/writes-linearizable": {some(registered), inSecondHalf(history.OK, OpSetValue, func(e *history.Event) { e.Zxid = 0 })},
		"register/reads-after-sync":    {some(registered), inSecondHalf(history.OK, OpRead, func(e *history.Event) { e.Zxid, e.Result = 0, "" })},
		"register/reads-sequential":    {some(registered), answered(OpRead, "nothing")},

		"counter/linearizable": {some(counting), func(r *rand.Rand, e events) events {
			if r.IntN(2) == 0 {
				return answered(OpGet, "-1")(r, e)
			}
			// An add gets a wrong result, for example because a batch had one result for all its
			// calls.
			return alter(history.OK, OpAdd, func(e *history.Event) { e.Result = fmt.Sprint(number(e.Result, 0) + 1) })(r, e)
		}},

		"session/ephemerals-stay": {some(sessioned), answered(OpPresent, "")},
		"session/ephemerals-go": {some(sessioned), alter(history.OK, OpPresent, func(e *history.Event) {
			e.Result = fmt.Sprintf("0x%x", number(path.Base(e.Object), 0)+1)
		}, func(e *history.Event) bool { return e.Result == "" })},
		"session/expired-for-good": {some(sessioned), alter(history.Fail, OpResume, func(e *history.Event) { e.Kind = history.OK })},
		"session/expiry-in-time": {some(sessioned), func(r *rand.Rand, e events) events {
			if r.IntN(2) == 0 {
				return late(history.Session, history.SessionExpired)(r, e)
			}
			return alter(history.Session, history.SessionNew, func(e *history.Event) { e.Arg = "1h" })(r, e)
		}},

		"watch/event-before-data": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			// The new data are read just before the event.
			i := pick(r, events, is(history.Watch, WatchFired))
			read := events[i]
			read.Kind, read.Op, read.Zxid = history.OK, OpRead, 1<<40
			invoked := read
			invoked.Kind = history.Invoke
			return slices.Insert(events, i, invoked, read)
		}},
		"watch/states-in-order": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, func(e *history.Event) bool { return e.Op == WatchState && e.Arg != "initial" })
			return slices.Insert(events, i+1, events[i])
		}},
		"watch/one-event-each": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchFired))
			return slices.Insert(events, i+1, events[i])
		}},
		"watch/final-state-reported": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			final := events[pick(r, events, is(history.Fact, FactFinal))]
			return slices.DeleteFunc(events, func(e history.Event) bool {
				return e.Op == WatchState && e.Object == final.Object && e.Zxid == final.Zxid
			})
		}},
		"watch/no-event-without-cause": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchSet))
			fired := events[i]
			fired.Op = WatchFired
			return slices.Insert(events, i+1, fired)
		}},
		"watch/recreation-reported": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, func(e *history.Event) bool { return e.Arg == "recreated" })
			events[i].Arg = "changed"
			return events
		}},
		"watch/one-end-each": {watches, func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchEnded))
			return slices.Delete(events, i, i+1)
		}},
	}
}

// Functions that make random histories.

// The function `some` returns a function that makes histories like those of the benchmarks. Each
// history has a random length, and lacks its last event.
func some(draw func(n int) *history.History) func(*rand.Rand) events {
	return func(r *rand.Rand) events {
		e := draw(80 * (1 + r.IntN(5))).Events
		for i := range e {
			e[i].Time = 0 // history.New sets it
		}
		return e[:len(e)-1]
	}
}

func set(e events, kind history.Kind, arg string) events {
	for i := range e {
		if e[i].Kind == kind {
			e[i].Arg = arg
		}
	}
	return e
}

func healed(draw func(*rand.Rand) events) func(*rand.Rand) events {
	return func(r *rand.Rand) events {
		return slices.Insert(draw(r), 0, history.Event{Kind: history.Phase, Op: history.PhaseHealed, Client: history.Nobody, Process: history.Nobody})
	}
}

// The function `refusing` makes a resource refuse, after each write, a token that is one less than
// the token of the write.
func refusing(draw func(*rand.Rand) events) func(*rand.Rand) events {
	return func(r *rand.Rand) events {
		var all events
		for _, e := range draw(r) {
			all = append(all, e)
			if is(history.Write, history.WriteAccepted)(&e) {
				e.Op, e.Token, e.Result = history.WriteRejected, e.Token-1, ""
				all = append(all, e)
			}
		}
		return all
	}
}

// The function `slow` makes each wait for a barrier take two seconds.
func slow(draw func(*rand.Rand) events) func(*rand.Rand) events {
	return func(r *rand.Rand) events {
		e, now := draw(r), time.Duration(0)
		for i := range e {
			if is(history.Invoke, OpRemove)(&e[i]) {
				now += 2 * time.Second
			}
			e[i].Time = now
		}
		return e
	}
}

// The function `facts` adds facts at the end of the history.
func facts(draw func(*rand.Rand) events, op, result string, objects ...string) func(*rand.Rand) events {
	return func(r *rand.Rand) events {
		e := draw(r)
		for _, object := range objects {
			e = append(e, history.Event{Kind: history.Fact, Op: op, Object: object, Result: result})
		}
		return e
	}
}

// The function `calm` returns the history of an election in which terms follow each other for a
// long time after the heal.
func calm(r *rand.Rand) events {
	e := healed(some(elected))(r)
	// Move the heal from the start to the moment after the first leader was elected.
	e[0], e[3] = e[3], e[0]
	e[0], e[1], e[2] = e[1], e[2], e[0]
	e = append(e, history.Event{Kind: history.Phase, Op: history.PhaseQuiesce, Client: history.Nobody, Process: history.Nobody})
	for i := range e {
		e[i].Time = time.Duration(i) * time.Second
	}
	return e
}

// The function `followed` returns a history of a group with a follower. The follower is notified of
// each list that a client has read.
func followed(n int) *history.History {
	var all events
	for _, e := range grouped(n).Events {
		if e.Kind == history.Phase {
			break
		}
		if all = append(all, e); e.Kind == history.OK && e.Op == OpMembers {
			all = append(all, history.Event{Kind: history.Watch, Op: WatchMembers, Object: e.Object, Client: 6, Process: 6, Arg: e.Result, Result: e.Result})
		}
	}
	asks := history.Event{Kind: history.Invoke, Op: OpMembers, Object: "/g", Arg: Settled, Client: 6, Process: 6}
	told := asks
	told.Kind, told.Arg = history.OK, ""
	return history.New(append(all, asks, told, end())...)
}

func delivers(e *history.Event) bool { return e.Result != "" }

// The function `line` returns a random history of a queue without overlapping calls. The queue is
// drained at the end.
func line(r *rand.Rand) events {
	return lined(r, func(items []int32) int { return 0 })
}

// urgentLine is like the function `line`, but the items have priorities. The two items that are put
// last are the least urgent.
func urgentLine(r *rand.Rand) events {
	return lined(r, func(items []int32) int { return slices.Index(items, slices.Min(items)) })
}

func lined(r *rand.Rand, first func(priorities []int32) int) events {
	var e events
	var priorities []int32
	var values []string
	do := func(op, arg, result string, priority int32) {
		c := int16(r.IntN(3))
		invoke := history.Event{Kind: history.Invoke, Op: op, Object: "/q", Arg: arg, Priority: priority, Client: c, Process: int32(c)}
		done := invoke
		done.Kind, done.Arg, done.Priority, done.Result = history.OK, "", 0, result
		e = append(e, invoke, done)
	}
	put := func(priority int32) {
		value := fmt.Sprint(len(e))
		values, priorities = append(values, value), append(priorities, priority)
		do(OpPut, value, "", priority)
	}
	take := func() {
		if len(values) == 0 {
			do(OpTake, "", "", 0)
			return
		}
		i := first(priorities)
		value := values[i]
		values, priorities = slices.Delete(values, i, i+1), slices.Delete(priorities, i, i+1)
		do(OpTake, "", value, 0)
	}
	for range 50 + r.IntN(50) {
		if r.IntN(2) == 0 {
			put(int32(r.IntN(5)))
		} else {
			take()
		}
	}
	put(5)
	put(6)
	for len(values) > 0 {
		take()
	}
	take()
	return e
}

func acknowledged(r *rand.Rand) events {
	var e events
	for i := range 10 + r.IntN(10) {
		ack := history.Event{Kind: history.Invoke, Op: OpAck, Object: "/q", Arg: fmt.Sprint(i)}
		done := ack
		done.Kind = history.OK
		e = append(e, ack, done, history.Event{Kind: history.Fact, Op: FactEffect, Object: "/q", Arg: ack.Arg})
	}
	return e
}

// The function `gated` returns a history in which clients repeatedly set a barrier, wait for it and
// remove it.
func gated(r *rand.Rand) events {
	var e events
	do := func(c int16, op string, kinds ...history.Kind) {
		for _, kind := range kinds {
			e = append(e, history.Event{Kind: kind, Op: op, Object: "/b", Client: c, Process: int32(c)})
		}
	}
	for range 5 + r.IntN(5) {
		do(0, OpSet, history.Invoke, history.OK)
		do(1, OpWait, history.Invoke)
		do(0, OpRemove, history.Invoke, history.OK)
		do(1, OpWait, history.OK)
	}
	return e
}

// Functions that edit histories.

// The function `alter` changes a random event of the given kind and operation. If `fits` is given,
// only events for which `fits` returns true are changed.
func alter(kind history.Kind, op string, how func(*history.Event), fits ...func(*history.Event) bool) func(*rand.Rand, events) events {
	return func(r *rand.Rand, e events) events {
		how(&e[pick(r, e, both(kind, op, fits...))])
		return e
	}
}

func both(kind history.Kind, op string, fits ...func(*history.Event) bool) func(*history.Event) bool {
	return func(e *history.Event) bool {
		return is(kind, op)(e) && (len(fits) == 0 || fits[0](e))
	}
}

func inSecondHalf(kind history.Kind, op string, how func(*history.Event)) func(*rand.Rand, events) events {
	return func(r *rand.Rand, e events) events {
		alter(kind, op, how)(r, e[len(e)/2:])
		return e
	}
}

// The function `answered` changes the result of one answer that had a result.
func answered(op, result string) func(*rand.Rand, events) events {
	return alter(history.OK, op, func(e *history.Event) { e.Result = result }, delivers)
}

// The function `late` delays an event, and all events after it, by five seconds.
func late(kind history.Kind, op string, fits ...func(*history.Event) bool) func(*rand.Rand, events) events {
	return func(r *rand.Rand, e events) events { return lateFrom(e, pick(r, e, both(kind, op, fits...))) }
}

func lateFrom(e events, at int) events {
	for i := range e {
		e[i].Time += time.Duration(i) * time.Millisecond
		if i >= at {
			e[i].Time += 5 * time.Second
		}
	}
	return e
}

// The function `moved` moves one event to an earlier place.
func moved(e events, from, to int) events {
	one := e[from]
	return slices.Insert(slices.Delete(e, from, from+1), to, one)
}

// tokenOfLater changes the token of one grant in the first half of the history. The new token is
// the token of a grant in the second half.
func tokenOfLater(op string) func(*rand.Rand, events) events {
	return func(r *rand.Rand, e events) events {
		half := len(e) / 2
		i := pick(r, e[:half], is(history.OK, op))
		e[i].Token = e[half+pick(r, e[half:], is(history.OK, op))].Token
		return e
	}
}

// resourceForgets makes the resource accept a write with a smaller token than an earlier write had.
func resourceForgets(r *rand.Rand, e events) events {
	i := pick(r, e[:len(e)/2], is(history.Write, history.WriteAccepted))
	e[i].Token += 2 + int64(r.IntN(3))
	return e
}

// holdGoesOn makes a hold last until after the next hold has begun.
func holdGoesOn(r *rand.Rand, e events) events {
	i := pick(r, e[:len(e)/2], is(history.Hold, history.HoldEnd))
	next := i + slices.IndexFunc(e[i:], func(e history.Event) bool { return is(history.Hold, history.HoldBegin)(&e) })
	ended := e[i]
	copy(e[i:next], e[i+1:next+1])
	e[next] = ended
	return e
}

// expiresBeforeItIsTold makes the servers end a session before its client is notified of a loss.
func expiresBeforeItIsTold(r *rand.Rand, e events) events {
	i := pick(r, e, is(history.Session, history.SessionExpired))
	lost := i
	for !is(history.Hold, history.HoldLost)(&e[lost]) {
		lost--
	}
	return moved(e, i, lost)
}

// termOfEarlier makes a client win an epoch that an earlier term already had.
func termOfEarlier(by int64) func(*rand.Rand, events) events {
	return func(r *rand.Rand, e events) events {
		term := e[len(e)/2+pick(r, e[len(e)/2:], is(history.Hold, history.HoldBegin))].Token
		for i := range e {
			if e[i].Kind == history.Hold && e[i].Token == term {
				e[i].Token -= by
			}
		}
		return e
	}
}

// The function `again` changes the result of a take in the second half of the history. This take
// then delivers an item that an earlier take has already delivered.
func again(r *rand.Rand, e events) events {
	half := len(e) / 2
	i := half + pick(r, e[half:], both(history.OK, OpTake, delivers))
	e[i].Result = e[pick(r, e[:i], both(history.OK, OpTake, delivers))].Result
	return e
}

// lastTwoSwapped exchanges the items of the last two takes that found an item. Both items were put
// before both takes.
func lastTwoSwapped(_ *rand.Rand, e events) events {
	n := len(e)
	e[n-3].Result, e[n-5].Result = e[n-5].Result, e[n-3].Result
	return e
}

// inRound edits one round of a double barrier of four members. The function `spoil` gets the events
// of the round, and all events after the round.
func inRound(spoil func(round, next events) events) func(*rand.Rand, events) events {
	const size = 16 // events of a round: each of four members begins and completes an enter and a leave
	return func(r *rand.Rand, e events) events {
		at := size * r.IntN(len(e)/size-1)
		round, next := slices.Clone(e[at:at+size]), e[at+size:]
		return slices.Concat(e[:at], spoil(round, next), next)
	}
}
