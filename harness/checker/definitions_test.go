package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// An oracle judges small histories by the definition of a property. It may be slow: it checks each
// moment, each pair, or each possible order of events.
type oracle struct {
	checker func() Checker
	draw    func(r *rand.Rand, n int) *history.History
	legal   func(h *history.History) bool
}

func oracles() map[string]oracle {
	return map[string]oracle{
		"lock/tokens-rise":           {LockTokensRise, tinyGrants(OpAcquire), func(h *history.History) bool { return tokensRose(h, OpAcquire) }},
		"lock/fenced-writes":         {LockFencedWrites, tinyWrites, writesWereFenced},
		"lock/no-false-refusal":      {LockNoFalseRefusal, tinyRefusals, refusalsHadACause},
		"lock/no-release-after-loss": {LockNoReleaseAfterLoss, tinyReleases, lossesWereHeeded},
		"lock/own-node-is-first":     {func() Checker { return LockOwnNodeIsFirst(Envelope{}) }, tinyLooks, looksFoundTheirOwn},
		"client/waiters-served":      {func() Checker { return WaitersServed(OpAcquire, soon) }, tinyHeal(tinyGrants(OpAcquire)), func(h *history.History) bool { return nobodyWaited(h, OpAcquire) }},
		"lock/grants-in-order": {func() Checker { return LockGrantsInOrder(Envelope{}) }, tinyTerms, func(h *history.History) bool {
			return everyPair(h, func(a, b *history.Event) bool { return a.Token >= b.Token })
		}},
		"lock/loss-before-expiry": {func() Checker { return LockLossBeforeExpiry(Envelope{}) }, tinyExpiries, nothingHeldBeyondItsSession},
		"rwlock/no-overtaking": {func() Checker { return rwLockNoOvertaking(Envelope{}) }, tinyModes, func(h *history.History) bool {
			return everyPair(h, func(a, b *history.Event) bool {
				return a.Token > b.Token && (a.Arg == ModeWrite || b.Arg == ModeWrite)
			})
		}},
		"queue/nothing-lost":               {QueueNothingLost, tinyDrained, everyLossHadATaker},
		"queue/nothing-twice":              {QueueNothingTwice, tinyClaims, claimsTookTurns},
		"group/members-listed":             {func() Checker { return groupMembersListed(Envelope{}) }, tinyGroup, membersWereListed},
		"group/no-stranger-listed":         {func() Checker { return groupNoStrangerListed(soon) }, tinyGroup, listedWereMembers},
		"queue/takers-wake":                {func() Checker { return QueueTakersWake(soon) }, tinyHeal(tinyUrgent), noTakeSlept},
		"queue/priority-order":             {QueuePriorityOrder, tinyUrgent, nothingUrgentWasLeft},
		"queue/ack-with-effect":            {QueueAckWithEffect, tinyAcks, effectsWereCounted},
		"election/heir-sees-all":           {ElectionHeirSeesAll, tinyProclaims, heirsSawTheLatest},
		"election/observers-see-leaders":   {ElectionObserversSeeLeaders, tinyObservers, observersWereRight},
		"barrier/no-missed-removal":        {func() Checker { return BarrierNoMissedRemoval(soon) }, func(r *rand.Rand, n int) *history.History { return tinyBarrier(r, n+8) }, removalsWereSeen},
		"double-barrier/rounds-go-on":      {func() Checker { return doubleBarrierRoundsGoOn(soon) }, tinyHeal(tinyDouble), roundsWentOn},
		"session/expiry-in-time":           {func() Checker { return sessionExpiryInTime(soon) }, tinyExpiry, expiryHadAReason},
		"watch/event-before-data":          {WatchEventBeforeData, tinyWatches, eventsCameFirst},
		"watch/states-in-order":            {WatchStatesInOrder, tinyWatches, statesRose},
		"watch/one-event-each":             {WatchOneEventEach, tinyWatches, firedOnce},
		"watch/final-state-reported":       {WatchFinalStateReported, tinyWatches, endedAtTheLast},
		"watch/no-event-without-cause":     {func() Checker { return WatchNoEventWithoutCause(Envelope{}) }, tinyCauses, eventsHadACause},
		"watch/recreation-reported":        {WatchRecreationReported, tinyWatches, recreationsWereTold},
		"watch/one-end-each":               {WatchOneEndEach, tinyWatches, endedWithTheSession},
		"counter/linearizable":             {CounterLinearizable, tinyCounts, countsHadAnOrder},
		"barrier/no-early-pass":            {BarrierNoEarlyPass, tinyBarrier, waitsWereLegal},
		"barrier/opens-in-time":            {func() Checker { return BarrierOpensInTime(soon) }, tinyBarrier, waitsWereInTime},
		"double-barrier/enter-together":    {func() Checker { return doubleBarrierEnterTogether(2) }, tinyDouble, entriesHadCompany},
		"double-barrier/no-quitter-counts": {func() Checker { return doubleBarrierNoQuitterCounts(2) }, tinyDouble, nobodyCountedThatGaveUp},
		"double-barrier/leave-together":    {doubleBarrierLeaveTogether, tinyDouble, func(h *history.History) bool { return nobodyInside(h, OpLeave, 0) }},
		"double-barrier/rounds-in-order":   {doubleBarrierRoundsInOrder, tinyDouble, func(h *history.History) bool { return nobodyInside(h, OpEnter, 1) }},
		"election/epochs-rise":             {ElectionEpochsRise, tinyGrants(OpCampaign), func(h *history.History) bool { return tokensRose(h, OpCampaign) }},
		"election/one-leader-an-epoch": {ElectionOneLeaderAnEpoch, tinyTerms, func(h *history.History) bool {
			return everyPair(h, func(a, b *history.Event) bool { return a.Client != b.Client && a.Token == b.Token })
		}},
		"election/no-epoch-twice": {electionNoEpochTwice, tinyTerms, func(h *history.History) bool {
			return everyPair(h, func(a, b *history.Event) bool { return a.Client == b.Client && a.Token == b.Token })
		}},
		"election/fenced-writes":          {ElectionFencedWrites, tinyWrites, writesWereFenced},
		"election/loss-before-reelection": {ElectionLossBeforeReelection, tinyTerms, termsOfOneTookTurns},
		"election/leader-after-heal":      {func() Checker { return electionLeaderAfterHeal(soon) }, tinyCalm, calmHadALeader},
		"session/ephemerals-stay":         {sessionEphemeralsStay, tinySession, func(h *history.History) bool { return sessionCouldBe(h, absent, alive) }},
		"session/ephemerals-go":           {func() Checker { return sessionEphemeralsGo(0, soon) }, tinySession, func(h *history.History) bool { return sessionCouldBe(h, present, over) }},
		"session/expired-for-good":        {func() Checker { return sessionExpiredForGood(soon) }, tinySession, func(h *history.History) bool { return sessionCouldBe(h, resumed, over) }},
	}
}

func (o oracle) disagrees(t *testing.T, h *history.History) bool {
	return o.legal(h) != (Run(t.Context(), h, o.checker())[0].Verdict != Invalid)
}

func TestCheckersAgreeWithTheirDefinitions(t *testing.T) {
	for id, o := range sorted(oracles()) {
		t.Run(id, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			legal, illegal := 0, 0
			for range 4000 {
				h := o.draw(r, 1+r.IntN(8))
				if o.disagrees(t, h) {
					t.Fatalf("the checker: got invalid %t, want %t by the definition\n%s",
						o.legal(h), !o.legal(h), listing(h))
				}
				if o.legal(h) {
					legal++
				} else {
					illegal++
				}
			}
			if t.Logf("%d legal, %d illegal", legal, illegal); legal < 100 || illegal < 100 {
				t.Errorf("got %d legal and %d illegal histories, want at least 100 of each",
					legal, illegal)
			}
		})
	}
}

// A run is also judged while it is in progress, and after an interruption. So the beginning of a
// legal history must not be invalid.
func TestTheBeginningOfALegalHistoryIsNotInvalid(t *testing.T) {
	for id, o := range sorted(oracles()) {
		t.Run(id, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			for range 300 {
				h := o.draw(r, 1+r.IntN(8))
				if !o.legal(h) {
					continue
				}
				for n := range h.Events {
					begun := history.New(h.Events[:n]...)
					if got := Run(t.Context(), begun, o.checker())[0]; got.Verdict == Invalid {
						t.Fatalf("the beginning of a legal history is invalid: %s\n%s... and continues\n%s", got.Reason, listing(begun), listing(h)[len(listing(begun)):])
					}
				}
			}
		})
	}
}

func FuzzCheckersAgainstDefinitions(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		for id, o := range sorted(oracles()) {
			if h := o.draw(rand.New(rand.NewPCG(a, b)), 1+int(b%8)); o.disagrees(t, h) {
				t.Errorf("%s: the checker: got invalid %t, want %t by the definition\n%s",
					id, o.legal(h), !o.legal(h), listing(h))
			}
		}
	})
}

func listing(h *history.History) (text string) {
	for _, e := range h.Events {
		text += fmt.Sprintf("#%d %v\n", e.Index, e)
	}
	return text
}

// tinyOps returns a history of random operations of three clients, which overlap in any way. It
// calls the function `next` n times. The function `next` returns the next invocation of a client,
// or nil for none. If `next` sets the Kind of the event, the event is recorded as it is, without a
// completion. The function `finish` fills in the completion of an operation.
func tinyOps(r *rand.Rand, n int, next func(client int16) *history.Event, finish func(e *history.Event)) *history.History {
	var events []history.Event
	open := make(map[int16]*history.Event)
	process := [3]int32{0, 1, 2}
	for begun := 0; begun < n || len(open) > 0; {
		c := int16(r.IntN(3))
		switch e, busy := open[c]; {
		case busy:
			delete(open, c)
			done := *e
			done.Kind, done.Arg = history.OK, ""
			switch r.IntN(8) {
			case 0:
				done.Kind = history.Fail
			case 1:
				done.Kind = history.Info
				process[c] += 3
			}
			finish(&done)
			events = append(events, done)
		case begun < n:
			begun++
			e := next(c)
			if e == nil {
				continue
			}
			e.Client, e.Process = c, process[c]
			if e.Kind == 0 {
				e.Kind = history.Invoke
				open[c] = e
			}
			events = append(events, *e)
		}
	}
	return history.New(append(events, end())...)
}

// Barriers.

func tinyBarrier(r *rand.Rand, n int) *history.History {
	healed := false
	return tinyOps(r, n, func(int16) *history.Event {
		if !healed && r.IntN(3) == 0 {
			healed = true
			return &history.Event{Kind: history.Phase, Op: history.PhaseHealed}
		}
		return &history.Event{Object: "/b", Op: [6]string{OpSet, OpSet, OpRemove, OpRemove, OpWait, OpWait}[r.IntN(6)]}
	}, func(*history.Event) {})
}

// waitsWereLegal checks each wait that succeeded. It requires that this wait, the sets and the
// removes have an order in which the wait finds no barrier. The order must respect real time. The
// function tries every order.
func waitsWereLegal(h *history.History) bool {
	ops, _ := h.Operations()
	var changes []history.Operation
	for _, o := range ops {
		if o.Invoke.Op != OpWait && o.Outcome() != session.Failed {
			changes = append(changes, o)
		}
	}
	for _, o := range ops {
		if o.Invoke.Op == OpWait && o.Outcome() == session.OK && !passable(append(slices.Clone(changes), o), false) {
			return false
		}
	}
	return true
}

// The function `passable` reports whether the remaining operations have an order in which the wait
// finds no barrier. Operations with an unknown outcome may be left out.
func passable(left []history.Operation, stands bool) bool {
	first := int32(forever)
	for _, o := range left {
		if o.Outcome() == session.OK {
			first = min(first, o.Complete.Index)
		}
	}
	for i, o := range left {
		switch {
		case o.Invoke.Index > first: // a remaining operation ended before this one began
		case o.Invoke.Op == OpWait:
			if !stands {
				return true
			}
		case passable(slices.Delete(slices.Clone(left), i, i+1), o.Invoke.Op == OpSet):
			return true
		}
	}
	return false
}

// The constant `soon` is the time limit of the liveness properties. In a small history, each event
// comes a millisecond after the previous one.
const soon = 2 * time.Millisecond

// waitsWereInTime checks each wait after the heal. During the wait, the barrier must not be
// certainly absent for longer than `soon`.
func waitsWereInTime(h *history.History) bool {
	healed := h.PhaseStart(history.PhaseHealed)
	if healed == nil {
		return true
	}
	ops, _ := h.Operations()
	for _, o := range ops {
		last := int32(len(h.Events) - 1)
		if o.Complete != nil {
			last = o.Complete.Index
		}
		for from := max(healed.Index, o.Invoke.Index); o.Invoke.Op == OpWait && from <= last; from++ {
			for to := from; to <= last; to++ {
				if h.Events[to].Time-h.Events[from].Time > soon && surelyGone(ops, from, to) {
					return false
				}
			}
		}
	}
	return true
}

// surelyGone reports whether the barrier was certainly absent during the whole interval. One of the
// removes must have ended before the interval. Each set must have ended before this remove began,
// or must have begun after the interval.
func surelyGone(ops []history.Operation, from, to int32) bool {
	return slices.ContainsFunc(ops, func(remove history.Operation) bool {
		return remove.Invoke.Op == OpRemove && remove.Outcome() == session.OK && remove.Complete.Index <= from &&
			allOf(ops, func(set history.Operation) bool {
				return set.Invoke.Op != OpSet || set.Outcome() == session.Failed ||
					set.End() < remove.Invoke.Index || set.Invoke.Index >= to
			})
	})
}

// tinyDouble returns a random history of clients that go through two rounds, mostly in order.
// Sometimes a client loses its session.
func tinyDouble(r *rand.Rand, n int) *history.History {
	var at [3]int
	return tinyOps(r, n+4, func(c int16) *history.Event {
		if r.IntN(12) == 0 {
			return &history.Event{Kind: history.Session, Op: history.SessionLost, Session: 1}
		}
		if at[c] == 4 {
			return nil
		}
		e := &history.Event{Object: "/d", Op: OpEnter, Round: int32(1 + at[c]/2)}
		if at[c]%2 == 1 {
			e.Op = OpLeave
		}
		at[c]++
		return e
	}, func(*history.Event) {})
}

// The function `completions` calls f for each successful operation with the name `op`.
func completions(h *history.History, op string, f func(history.Operation)) {
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Invoke.Op == op && o.Outcome() == session.OK {
			f(o)
		}
	}
}

func entriesHadCompany(h *history.History) bool {
	legal := true
	completions(h, OpEnter, func(o history.Operation) {
		came := 0
		for _, e := range h.Events[:o.Complete.Index] {
			if e.Kind == history.Invoke && e.Op == OpEnter && e.Round == o.Invoke.Round {
				came++
			}
		}
		legal = legal && came >= 2
	})
	return legal
}

// nobodyCountedThatGaveUp checks each successful enter. At some moment up to the completion of the
// enter, at least two members of the round must have been inside. Here a member is inside from the
// invocation of its enter on. If the enter fails, the member is inside until the failure is
// reported. A round with fewer than two members violates double-barrier/enter-together. Such a
// round is not judged here.
func nobodyCountedThatGaveUp(h *history.History) bool {
	legal := true
	ops, _ := h.Operations()
	completions(h, OpEnter, func(entered history.Operation) {
		most, ever := 0, 0
		for at := range entered.Complete.Index + 1 {
			in := 0
			for _, o := range ops {
				if o.Invoke.Op == OpEnter && o.Invoke.Round == entered.Invoke.Round && o.Invoke.Index <= at {
					if o.Outcome() != session.Failed || o.Complete.Index > at {
						in++
					}
				}
			}
			most = max(most, in)
		}
		for _, o := range ops {
			if o.Invoke.Op == OpEnter && o.Invoke.Round == entered.Invoke.Round {
				ever++
			}
		}
		legal = legal && (most >= 2 || ever < 2)
	})
	return legal
}

// nobodyInside checks each successful operation with the name `op`. When an operation of round n
// completes, no member is allowed to be inside the round with the number n minus `before`. A member
// is inside after its enter has returned, until it begins to leave or its session changes.
func nobodyInside(h *history.History, op string, before int32) bool {
	legal := true
	completions(h, op, func(o history.Operation) {
		completions(h, OpEnter, func(in history.Operation) {
			if in.Invoke.Round != o.Invoke.Round-before || in.Complete.Index > o.Complete.Index {
				return
			}
			for _, e := range h.Events[in.Invoke.Index:o.Complete.Index] {
				leaves := e.Kind == history.Invoke && e.Op == OpLeave && e.Round == in.Invoke.Round
				if e.Client == in.Invoke.Client && (leaves || e.Kind == history.Session) {
					return
				}
			}
			legal = false
		})
	})
	return legal
}

// Elections.

// tinyGrants returns a function that makes random histories of grants. The tokens rise, but a few
// are wrong.
func tinyGrants(op string) func(*rand.Rand, int) *history.History {
	return func(r *rand.Rand, n int) *history.History {
		token := int64(0)
		return tinyOps(r, n, func(int16) *history.Event { return &history.Event{Object: "/e", Op: op} }, func(e *history.Event) {
			token++
			if e.Token = token; r.IntN(5) == 0 {
				e.Token = r.Int64N(token + 2)
			}
		})
	}
}

func tokensRose(h *history.History, op string) bool {
	legal := true
	completions(h, op, func(a history.Operation) {
		legal = legal && a.Complete.Token > 0
		completions(h, op, func(b history.Operation) {
			switch {
			case a.Invoke == b.Invoke:
			case a.Complete.Token == b.Complete.Token:
				legal = false
			case a.Complete.Index < b.Invoke.Index:
				legal = legal && a.Complete.Token < b.Complete.Token
			}
		})
	})
	return legal
}

// tinyTerms returns a random history in which clients begin and cease to lead. Sometimes a client
// begins a term although the end of its previous term was not recorded.
func tinyTerms(r *rand.Rand, n int) *history.History {
	var events []history.Event
	open := make(map[int16]history.Event)
	for range n {
		c := int16(r.IntN(3))
		e, leads := open[c]
		if leads && r.IntN(5) > 0 {
			e.Op = [2]string{history.HoldEnd, history.HoldLost}[r.IntN(2)]
			delete(open, c)
		} else {
			e = history.Event{Kind: history.Hold, Op: history.HoldBegin, Client: c, Process: int32(c), Object: "/e", Token: int64(1 + r.IntN(12))}
			open[c] = e
		}
		events = append(events, e)
	}
	return history.New(append(events, end())...)
}

// tinyCalm returns a random history of terms before and after a heal. In some histories, client 2
// takes part in another election than the other clients.
func tinyCalm(r *rand.Rand, n int) *history.History {
	h := tinyHeal(tinyTerms)(r, n+4)
	if r.IntN(3) == 0 {
		for i := range h.Events {
			if e := &h.Events[i]; e.Client == 2 {
				e.Object = "/other"
			}
		}
	}
	return h
}

// tinyHeal adds two phases to the histories that `draw` returns: "healed" at a random moment, and
// "quiesce" at a later moment.
func tinyHeal(draw func(*rand.Rand, int) *history.History) func(*rand.Rand, int) *history.History {
	return func(r *rand.Rand, n int) *history.History {
		all := draw(r, n).Events
		all = all[:len(all)-1]
		for _, phase := range []string{history.PhaseQuiesce, history.PhaseHealed} {
			last := len(all)
			if i := slices.IndexFunc(all, func(e history.Event) bool { return e.Kind == history.Phase }); i >= 0 {
				last = i
			}
			all = slices.Insert(all, r.IntN(last+1), history.Event{Kind: history.Phase, Op: phase})
		}
		for i := range all {
			all[i].Time = 0 // history.New sets it
		}
		return history.New(append(all, end())...)
	}
}

// calmHadALeader reports whether each election has a leader at some time within `soon` after the
// heal, and no term is lost between that limit and the phase "quiesce". It checks each half
// millisecond.
func calmHadALeader(h *history.History) bool {
	healed, quiesce := h.PhaseStart(history.PhaseHealed), h.PhaseStart(history.PhaseQuiesce)
	due := healed.Time + soon
	if quiesce.Time < due {
		return true // too short to judge
	}
	led := make(map[string]bool)
	for _, term := range h.Holds() {
		for t := healed.Time; t <= due; t += time.Millisecond / 2 {
			leads := term.Begin.Time <= t && (term.End == nil || t < term.End.Time)
			led[term.Begin.Object] = led[term.Begin.Object] || leads
		}
	}
	for _, e := range h.Events {
		lost := e.Kind == history.Hold && e.Op == history.HoldLost
		if lost && e.Time > due && e.Index < quiesce.Index {
			return false
		}
	}
	for _, any := range led {
		if !any {
			return false
		}
	}
	return true
}

// everyPair returns false if the function `wrong` returns true for a pair of terms.
func everyPair(h *history.History, wrong func(a, b *history.Event) bool) bool {
	terms := h.Holds()
	for i := range terms {
		for _, other := range terms[:i] {
			if wrong(other.Begin, terms[i].Begin) {
				return false
			}
		}
	}
	return true
}

// termsOfOneTookTurns returns false if a client leads two terms at the same moment.
func termsOfOneTookTurns(h *history.History) bool {
	for at := range h.Events {
		leads := make(map[int16]int)
		for _, term := range h.Holds() {
			if term.Begin.Index <= int32(at) && int32(at) < term.Last() {
				leads[term.Begin.Client]++
			}
		}
		for _, n := range leads {
			if n > 1 {
				return false
			}
		}
	}
	return true
}

// tinyWrites returns a random log of a resource that may accept writes that it must refuse.
func tinyWrites(r *rand.Rand, n int) *history.History {
	var events []history.Event
	value, epoch := 0, int64(1)
	for range n {
		e := history.Event{Kind: history.Write, Op: history.WriteAccepted, Object: "/x", Arg: "write", Token: epoch, Client: 1}
		switch r.IntN(8) {
		case 0:
			epoch++
			e.Token = epoch
		case 1:
			e.Token = 1 + r.Int64N(epoch)
			if e.Token < epoch && r.IntN(2) == 0 {
				e.Op = history.WriteRejected
			}
		case 2:
			e.Arg = "read"
		}
		if e.Op == history.WriteAccepted && e.Arg == "write" && r.IntN(16) > 0 {
			value++
		}
		e.Result = fmt.Sprint(value)
		events = append(events, e)
	}
	return history.New(append(events, end())...)
}

// tinyRefusals returns a random log of a resource that may refuse writes that it must accept.
func tinyRefusals(r *rand.Rand, n int) *history.History {
	var events []history.Event
	for range n {
		e := history.Event{Kind: history.Write, Op: history.WriteAccepted, Object: "/x", Arg: "write", Token: 1 + r.Int64N(6), Client: 1}
		if r.IntN(4) == 0 {
			e.Op = history.WriteRejected
			if r.IntN(3) == 0 {
				e.Result = fmt.Sprint(e.Token + r.Int64N(6))
			}
		}
		events = append(events, e)
	}
	return history.New(append(events, end())...)
}

func refusalsHadACause(h *history.History) bool {
	for i, e := range h.Events {
		if e.Kind != history.Write || e.Op != history.WriteRejected {
			continue
		}
		excused := slices.ContainsFunc(h.Events[:i], func(before history.Event) bool {
			return before.Kind == history.Write && before.Op == history.WriteAccepted && before.Token > e.Token
		})
		if e.Result != "" {
			excused = e.Result > fmt.Sprint(e.Token) && len(e.Result) == 1 || len(e.Result) > 1
		}
		if !excused {
			return false
		}
	}
	return true
}

func writesWereFenced(h *history.History) bool {
	writes := int64(0)
	for i, e := range h.Events {
		if e.Kind != history.Write || e.Op != history.WriteAccepted {
			continue
		}
		for _, before := range h.Events[:i] {
			if before.Kind == history.Write && before.Op == history.WriteAccepted && before.Token > e.Token {
				return false
			}
		}
		if e.Arg == "write" {
			if writes++; e.Result != fmt.Sprint(writes) {
				return false
			}
		}
	}
	return true
}

// Sessions.

// tinySession returns a random history of one session and one ephemeral znode. The session has a
// timeout of one millisecond. First, client 0 creates the ephemeral in the session. Then all
// clients observe both. Client 0 may close the session. Other clients may delete the znode once,
// and create it in new sessions.
func tinySession(r *rand.Rand, n int) *history.History {
	begun, ended, closed, asked, created, deleted, other := false, false, false, false, false, false, int64(7)
	return tinyOps(r, n+5, func(c int16) *history.Event {
		switch e := (&history.Event{Object: "/s/n"}); {
		case !begun:
			begun = true
			return &history.Event{Kind: history.Session, Op: history.SessionNew, Session: 7, Arg: "1ms"}
		case !asked:
			if c != 0 {
				return nil
			}
			asked = true
			e.Op, e.Session = OpEphemeral, 7
			return e
		case r.IntN(5) == 0 && !ended && created:
			ended = true
			return &history.Event{Kind: history.Session, Op: history.SessionExpired, Session: 7}
		case r.IntN(6) == 0:
			e.Op, e.Arg = OpResume, "0x7"
			return e
		case c == 0 && (ended || closed):
			return nil
		case c == 0 && created && r.IntN(8) == 0:
			closed = true
			return &history.Event{Kind: history.Session, Op: history.SessionClosed, Session: 7}
		case c == 0:
			e.Op, e.Session = OpSetValue, 7
			return e
		case r.IntN(14) == 0:
			other++
			e.Op, e.Session = OpEphemeral, other
			return e
		case r.IntN(14) == 0 && !deleted:
			deleted = true
			e.Op = OpDelete
			return e
		default:
			e.Op, e.Arg = OpPresent, "sync"
			return e
		}
	}, func(e *history.Event) {
		created = created || e.Session == 7
		if e.Op == OpPresent {
			e.Result = [4]string{"0x7", "0x7", "", "0x8"}[r.IntN(4)] // 0x8 is another session
		}
	})
}

// Each of the next functions selects the operations that prove a certain fact. For example, each
// operation that the function `absent` selects proves that the ephemeral was absent at some moment
// of the operation. The function `over` is for the end of the session. No operation needs to prove
// this end, because sessionCouldBe always considers the end that was observed. So `over` selects no
// operation.
func absent(o *history.Operation) bool {
	return o.Invoke.Op == OpPresent && o.Complete.Result != "0x7"
}
func present(o *history.Operation) bool {
	return o.Invoke.Op == OpPresent && o.Complete.Result == "0x7"
}
func resumed(o *history.Operation) bool { return o.Invoke.Op == OpResume }
func alive(o *history.Operation) bool   { return o.Complete.Session == 7 }
func over(*history.Operation) bool      { return false }

// sessionCouldBe tries every moment at which the session may have ended, and every moment at which
// the ephemeral may have been created or deleted. It reports whether such moments explain the
// observed end and all operations of the given kinds.
func sessionCouldBe(h *history.History, kinds ...func(*history.Operation) bool) bool {
	ops, _ := h.Operations()
	var judged []history.Operation
	var create *history.Operation
	deletes := []int32{forever} // the moments at which the ephemeral may have been deleted
	for i, o := range ops {
		if o.Invoke.Op == OpDelete && o.Outcome() != session.Failed {
			deletes = nil
			for at := o.Invoke.Index; at < min(o.End(), int32(len(h.Events))); at++ {
				deletes = append(deletes, at)
			}
		}
		if o.Outcome() != session.OK {
			continue
		}
		if o.Invoke.Op == OpEphemeral && o.Invoke.Session == 7 {
			create = &ops[i]
		}
		if slices.ContainsFunc(kinds, func(is func(*history.Operation) bool) bool { return is(&o) }) {
			judged = append(judged, o)
		}
	}
	seen := slices.IndexFunc(h.Events, func(e history.Event) bool { return e.Op == history.SessionExpired })
	last := int32(len(h.Events))
	if seen >= 0 {
		last = int32(seen)
	}
	for _, e := range h.Events {
		if e.Op != history.SessionClosed {
			continue
		}
		// The servers may receive the close at any time, or never. If they never receive the close,
		// they end the session at the latest when its timeout plus `soon` has passed since the
		// close.
		due := slices.IndexFunc(h.Events, func(late history.Event) bool { return late.Time > e.Time+time.Millisecond+soon })
		if due >= 0 && int32(due) < last {
			last, seen = int32(due), due
		}
	}
	if create == nil {
		return allOf(judged, func(o history.Operation) bool {
			// It is unknown whether the ephemeral existed. So only two observations after the end
			// of the session are a mistake: that it is resumed, and that its ephemeral exists.
			return !resumed(&o) && !present(&o) || o.Invoke.Index < last
		})
	}
	for end := range last + 1 {
		for made := create.Invoke.Index; made < create.Complete.Index; made++ {
			for _, deleted := range deletes {
				if deleted < made {
					deleted = forever // there was nothing to delete
				}
				if allOf(judged, func(o history.Operation) bool { return couldSee(o, made, deleted, end, seen < 0 && end == last) }) {
					return true
				}
			}
		}
	}
	return false
}

func allOf(ops []history.Operation, f func(history.Operation) bool) bool {
	return !slices.ContainsFunc(ops, func(o history.Operation) bool { return !f(o) })
}

// couldSee reports whether the observation of o was true at some moment between the invocation and
// the completion of o. The other arguments give the moments of three changes, by indexes of events:
//   - The ephemeral was created between the event `made` and the next event.
//   - The ephemeral was deleted between the event `deleted` and the next event. A read may still
//     find the ephemeral after that, because the checkers accept such a read.
//   - The session ended between the event before `end` and the event `end`. If `never` is true, the
//     session did not end.
//
// If the moment of the observation and a change lie between the same two events, the moment may
// have come before or after the change.
func couldSee(o history.Operation, made, deleted, end int32, never bool) bool {
	for at := o.Invoke.Index; at < o.Complete.Index; at++ {
		lives, over := never || at < end, !never && at >= end-1
		switch {
		case resumed(&o) || alive(&o):
			if lives {
				return true
			}
		case present(&o) && lives && at >= made, absent(&o) && (over || at <= made || at >= deleted):
			return true
		}
	}
	return false
}
