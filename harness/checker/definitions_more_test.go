package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Locks.

// tinyReleases returns a random history in which clients hold, lose and release locks. A few tokens
// are granted twice.
func tinyReleases(r *rand.Rand, n int) *history.History {
	var all []history.Event
	open := make(map[int16]history.Event)
	last := make(map[int16]history.Event)
	for range n {
		c := int16(r.IntN(3))
		e, holds := open[c]
		released, any := last[c]
		switch {
		case holds:
			e.Op = [2]string{history.HoldEnd, history.HoldLost}[r.IntN(2)]
			delete(open, c)
			if r.IntN(4) > 0 {
				last[c] = e
			}
			all = append(all, e)
		case any:
			delete(last, c)
			release := history.Event{Kind: history.Invoke, Op: OpRelease, Client: c, Process: int32(c), Object: "/e", Token: released.Token}
			done := release
			done.Kind = [3]history.Kind{history.OK, history.Fail, history.Fail}[r.IntN(3)]
			all = append(all, release, done)
		default:
			e = history.Event{Kind: history.Hold, Op: history.HoldBegin, Client: c, Process: int32(c), Object: "/e", Token: int64(1 + r.IntN(30))}
			open[c] = e
			all = append(all, e)
		}
	}
	return history.New(append(all, end())...)
}

func lossesWereHeeded(h *history.History) bool {
	legal := everyPair(h, func(a, b *history.Event) bool { return a.Token == b.Token })
	completions(h, OpRelease, func(o history.Operation) {
		for _, e := range h.Events[:o.Invoke.Index] {
			if e.Op == history.HoldLost && e.Token == o.Invoke.Token {
				legal = false
			}
		}
	})
	return legal
}

// tinyLooks returns a random history in which clients read the lock queue before, during and after
// their holds.
func tinyLooks(r *rand.Rand, n int) *history.History {
	var token [3]int64
	var holds [3]bool
	return tinyOps(r, n, func(c int16) *history.Event {
		e := &history.Event{Object: "/e", Token: 10*token[c] + int64(c) + 1, Session: int64(c + 1), Node: fmt.Sprintf("n%d", c)}
		switch {
		case r.IntN(2) == 0:
			e.Op = OpVerify
		case holds[c]:
			e.Kind, e.Op, holds[c] = history.Hold, history.HoldEnd, false
		default:
			token[c]++
			e.Token += 10
			e.Kind, e.Op, holds[c] = history.Hold, history.HoldBegin, true
		}
		return e
	}, func(e *history.Event) {
		e.Result, e.Node = e.Node, ""
		switch r.IntN(6) {
		case 0:
			e.Result = fmt.Sprintf("n%d", r.IntN(3))
		case 1:
			e.Session = int64(1 + r.IntN(3))
		}
	})
}

// looksFoundTheirOwn checks each read of a client that held the lock during the whole read. The
// read must have found the znode and the session of this client.
func looksFoundTheirOwn(h *history.History) bool {
	legal := true
	completions(h, OpVerify, func(o history.Operation) {
		for _, hold := range h.Holds() {
			during := hold.Begin.Client == o.Invoke.Client && hold.Begin.Token == o.Invoke.Token
			for at := o.Invoke.Index; at < o.Complete.Index; at++ {
				during = during && hold.Begin.Index <= at && at < hold.Last()
			}
			if during && (o.Complete.Result != hold.Begin.Node || o.Complete.Session != hold.Begin.Session) {
				legal = false
			}
		}
	})
	return legal
}

// The function `heard` returns the index of the completion of o, whatever its outcome. If o has no
// completion, it returns the index of the last event of the history.
func heard(h *history.History, o history.Operation) int32 {
	if o.Complete != nil {
		return o.Complete.Index
	}
	return int32(len(h.Events) - 1)
}

// nobodyWaited returns false if an operation with the name `op` waited for longer than the limit
// `soon` (2 ms). Time before the heal does not count. At each event after the heal and during the
// operation, nobodyWaited checks how long the operation has waited by then.
func nobodyWaited(h *history.History, op string) bool {
	healed := h.PhaseStart(history.PhaseHealed)
	ops, _ := h.Operations()
	for _, o := range ops {
		for _, now := range h.Events {
			waits := o.Invoke.Op == op && o.Invoke.Index <= now.Index && now.Index <= heard(h, o) && now.Index > healed.Index
			if waits && now.Time-max(o.Invoke.Time, healed.Time) > soon {
				return false
			}
		}
	}
	return true
}

// tinyExpiries returns a random history in which clients hold locks in sessions. The servers end
// some of the sessions.
func tinyExpiries(r *rand.Rand, n int) *history.History {
	var all []history.Event
	var session [3]int64
	open := make(map[int16]history.Event)
	for range n {
		c := int16(r.IntN(3))
		id := 3*session[c] + int64(c) + 1
		e, holds := open[c]
		switch {
		case r.IntN(4) == 0:
			all = append(all, history.Event{Kind: history.Session, Op: history.SessionExpired, Session: id, Arg: [3]string{"", "", "closed"}[r.IntN(3)]})
			if r.IntN(3) > 0 {
				session[c]++
			}
		case holds:
			e.Op = [2]string{history.HoldEnd, history.HoldLost}[r.IntN(2)]
			delete(open, c)
			all = append(all, e)
		default:
			e = history.Event{Kind: history.Hold, Op: history.HoldBegin, Client: c, Process: int32(c), Object: "/e", Token: int64(len(all) + 1), Session: id}
			open[c] = e
			all = append(all, e)
		}
	}
	return history.New(append(all, end())...)
}

// nothingHeldBeyondItsSession checks that no hold begins or continues after the end of its session.
// There is one exception: if another client closed the session, a hold is allowed to continue.
func nothingHeldBeyondItsSession(h *history.History) bool {
	for _, e := range h.Events {
		for _, hold := range h.Holds() {
			if e.Op != history.SessionExpired || hold.Begin.Session != e.Session {
				continue
			}
			if hold.Begin.Index > e.Index || hold.Last() > e.Index && e.Arg != "closed" {
				return false
			}
		}
	}
	return true
}

func tinyModes(r *rand.Rand, n int) *history.History {
	h := tinyTerms(r, n)
	for i := range h.Events {
		h.Events[i].Arg = [2]string{ModeRead, ModeWrite}[r.IntN(2)]
	}
	return h
}

// Queues.

// tinyDrained returns a random history of two queues. Clients put, take, claim, return and
// acknowledge items. Sometimes a claim is lost, and its client may still return the item later. At
// the end, each queue is drained with a probability of 7/8.
//
// In half of the histories, items may be lost. In these histories, no call before the end reports
// an empty queue: a call that would report one gets the outcome Failed instead. Otherwise the call
// could prove that an item is lost, and a later call with an unknown result could then explain the
// loss. The whole history would be legal, although its beginning is invalid, and
// TestTheBeginningOfALegalHistoryIsNotInvalid would fail.
func tinyDrained(r *rand.Rand, n int) *history.History {
	type claim struct {
		object, value string
		token         int64
	}
	there := make(map[string][]string)
	var hands, gone [3][]claim // the claims that each client has, and those that it lost
	var late [3]bool           // whether the client is returning a claim that it lost
	var session [3]int64
	var putting [3]string // the value that each client put last
	put, token := 0, int64(0)
	loses := r.IntN(2) == 0
	kept := func() bool { return !loses || r.IntN(4) > 0 }
	lose := func(c int16, claims []claim) {
		for _, one := range claims {
			there[one.object] = append(there[one.object], one.value)
		}
		gone[c] = append(gone[c], claims...)
		hands[c] = hands[c][len(claims):]
	}
	h := tinyOps(r, n+4, func(c int16) *history.Event {
		e := &history.Event{Object: [3]string{"/a", "/a", "/b"}[r.IntN(3)], Session: 3*session[c] + int64(c) + 1}
		late[c] = false
		switch choice := r.IntN(11); {
		case choice == 0:
			lose(c, hands[c])
			session[c]++
			return &history.Event{Kind: history.Session, Op: history.SessionLost, Session: e.Session}
		case choice == 9 && len(hands[c]) > 0:
			one := hands[c][0]
			lose(c, hands[c][:1])
			return &history.Event{Kind: history.Hold, Op: history.HoldLost, Object: one.object + "/" + one.value, Token: one.token}
		case choice == 10 && len(gone[c]) > 0:
			one := gone[c][0]
			gone[c], late[c] = gone[c][1:], true
			e.Op, e.Object, e.Arg, e.Token = OpReturn, one.object, one.value, one.token*r.Int64N(2)
		case choice < 3 && len(hands[c]) > 0:
			e.Op, e.Object, e.Arg = [2]string{OpAck, OpReturn}[choice-1], hands[c][0].object, hands[c][0].value
		case choice < 6:
			put++
			e.Op, e.Arg = OpPut, fmt.Sprint(put)
			putting[c] = e.Arg
		default:
			e.Op = [2]string{OpTake, OpClaim}[choice%2]
		}
		return e
	}, func(e *history.Event) {
		in, mine, happened := there[e.Object], &hands[e.Client], e.Kind == history.OK || e.Kind == history.Info && r.IntN(2) == 0
		switch {
		case !happened || late[e.Client]:
		case e.Op == OpPut:
			if loses {
				putting[e.Client] = fmt.Sprint(put) // the value of the latest put, which may not be this put
			}
			if kept() {
				there[e.Object] = append(in, putting[e.Client])
			}
		case e.Op == OpAck, e.Op == OpReturn:
			one := (*mine)[0]
			if *mine = (*mine)[1:]; e.Op == OpReturn && kept() {
				there[one.object] = append(in, one.value)
			}
		case len(in) > 0:
			there[e.Object] = in[1:]
			if e.Op == OpClaim {
				token++
				e.Token = token
				*mine = append(*mine, claim{e.Object, in[0], token})
			}
			if e.Kind == history.OK {
				e.Result = in[0]
			}
		case loses && e.Kind == history.OK:
			e.Kind = history.Fail
		}
	})
	all := h.Events[:len(h.Events)-1]
	for _, object := range []string{"/a", "/b"} {
		if r.IntN(8) == 0 {
			continue
		}
		for {
			take := history.Event{Kind: history.Invoke, Op: OpTake, Object: object, Client: history.Nobody, Process: 99}
			done := take
			done.Kind = history.OK
			in := there[object]
			if len(in) > 0 {
				done.Result, there[object] = in[0], in[1:]
			}
			if all = append(all, take, done); len(in) == 0 {
				break
			}
		}
	}
	for i := range all {
		all[i].Time = 0
	}
	return history.New(append(all, end())...)
}

// everyLossHadATaker reports whether calls with an unknown result explain all lost values. Each
// such call explains one value at most. A value is lost if it was neither taken nor acked, and no
// client holds it.
func everyLossHadATaker(h *history.History) bool {
	return everyLossOf("/a", h) && everyLossOf("/b", h)
}

func everyLossOf(object string, h *history.History) bool {
	ops, _ := h.Operations()
	ops = slices.DeleteFunc(slices.Clone(ops), func(o history.Operation) bool { return o.Invoke.Object != object })
	last, drained := int32(-1), int32(-1)
	for _, o := range ops {
		if o.Invoke.Op == OpPut {
			last = max(last, heard(h, o)) // the index at which all puts had an answer
		}
	}
	for _, o := range ops {
		if found := o.Invoke.Op == OpTake || o.Invoke.Op == OpClaim; found && o.Outcome() == session.OK && o.Complete.Result == "" && o.Invoke.Index > last {
			drained = o.Invoke.Index
		}
	}
	if drained < 0 {
		return true
	}
	inHands := func(claim history.Operation) bool {
		since := func(e *history.Event) bool { return claim.Invoke.Index < e.Index && e.Index < drained }
		lost := slices.ContainsFunc(h.Events, func(e history.Event) bool {
			session := e.Op == history.SessionLost && e.Session == claim.Invoke.Session
			return since(&e) && (session || e.Op == history.HoldLost && endsClaim(ops, &e, claim))
		})
		return !lost && !slices.ContainsFunc(ops, func(o history.Operation) bool {
			return o.Invoke.Op == OpReturn && o.Outcome() == session.OK && since(o.Complete) && endsClaim(ops, o.Invoke, claim)
		})
	}
	takers, lost := 0, 0
	for _, o := range ops {
		switch {
		case o.Invoke.Op == OpTake && o.Outcome() == session.Indeterminate, o.Invoke.Op == OpClaim && o.Outcome() == session.Indeterminate && inHands(o):
			takers++
		case o.Invoke.Op == OpPut && o.Outcome() == session.OK && !slices.ContainsFunc(ops, func(out history.Operation) bool {
			switch value := o.Invoke.Arg; {
			case out.Invoke.Op == OpAck:
				return out.Invoke.Arg == value && out.Outcome() != session.Failed
			case out.Outcome() != session.OK || out.Complete.Result != value:
				return false
			}
			return out.Invoke.Op == OpTake || out.Invoke.Op == OpClaim && inHands(out)
		}):
			lost++
		}
	}
	return lost <= takers
}

// endsClaim reports whether the event e, which is a return or the end of a hold, ends the given
// claim. The event and the claim must have the same client, queue, value and token. An event
// without a token also ends the latest of the client's claims of the value.
func endsClaim(ops []history.Operation, e *history.Event, claim history.Operation) bool {
	if claim.Outcome() != session.OK || e.Client != claim.Invoke.Client || e.Index < claim.Complete.Index {
		return false
	}
	got := claim.Complete
	if e.Object+"/"+e.Arg != got.Object+"/"+got.Result && e.Object != got.Object+"/"+got.Result {
		return false
	}
	later := slices.ContainsFunc(ops, func(o history.Operation) bool {
		return o.Invoke.Op == OpClaim && o.Outcome() == session.OK && o.Invoke.Client == e.Client &&
			o.Complete.Result == got.Result && got.Index < o.Complete.Index && o.Complete.Index < e.Index
	})
	return e.Token == got.Token || e.Token == 0 && !later
}

// tinyClaims returns a random history of clients that claim one value, return it and lose it. A
// client may return the value long after it has lost its claim. In half of the histories, claims
// have no tokens.
func tinyClaims(r *rand.Rand, n int) *history.History {
	tokens := r.Int64N(2)
	token, session := int64(0), [3]int64{1, 2, 3}
	var had [3]int64 // the last token of each client
	return tinyOps(r, n+2, func(c int16) *history.Event {
		e := &history.Event{Object: "/q", Session: session[c]}
		switch choice := r.IntN(8); {
		case choice < 4 || token == 0:
			e.Op = OpClaim
		case choice < 6:
			e.Op, e.Arg, e.Token = OpReturn, "v", had[c]*r.Int64N(2)
		case choice == 6:
			e.Kind, e.Op = history.Hold, [2]string{history.HoldEnd, history.HoldLost}[r.IntN(2)]
			e.Object, e.Token = "/q/v", had[c]
		default:
			e.Kind, e.Op = history.Session, history.SessionLost
			session[c] += 3
		}
		return e
	}, func(e *history.Event) {
		if e.Op == OpClaim && e.Kind == history.OK {
			token++
			e.Result, e.Token, had[e.Client] = "v", token*tokens, token*tokens
		}
	})
}

// claimsTookTurns reports whether each claim had ended before the next one completed. A claim ends
// when its client begins to return the value, when its hold ends, or when its session is lost.
func claimsTookTurns(h *history.History) bool {
	ops, _ := h.Operations()
	legal := true
	completions(h, OpClaim, func(claim history.Operation) {
		var following []int32 // the completions of later claims
		completions(h, OpClaim, func(o history.Operation) {
			if o.Complete.Index > claim.Complete.Index {
				following = append(following, o.Complete.Index)
			}
		})
		completions(h, OpClaim, func(next history.Operation) {
			if len(following) == 0 || next.Complete.Index != slices.Min(following) {
				return
			}
			legal = legal && slices.ContainsFunc(h.Events[claim.Invoke.Index:next.Complete.Index], func(e history.Event) bool {
				if e.Kind == history.Session {
					return e.Session == claim.Invoke.Session
				}
				ends := e.Kind == history.Hold || e.Kind == history.Invoke && e.Op == OpReturn
				return ends && endsClaim(ops, &e, claim)
			})
		})
	})
	return legal
}

// tinyUrgent returns a random history of a queue. Clients put values with three priorities, and
// take them in any order.
func tinyUrgent(r *rand.Rand, n int) *history.History {
	var values []string
	put := 0
	return tinyOps(r, n+2, func(int16) *history.Event {
		if r.IntN(2) == 0 {
			put++
			values = append(values, fmt.Sprint(put))
			return &history.Event{Object: "/q", Op: OpPut, Arg: fmt.Sprint(put), Priority: int32(r.IntN(3))}
		}
		return &history.Event{Object: "/q", Op: OpTake}
	}, func(e *history.Event) {
		if e.Priority = 0; e.Op == OpTake && e.Kind == history.OK && len(values) > 0 {
			i := r.IntN(len(values))
			e.Result = values[i]
			values = slices.Delete(values, i, i+1)
		}
	})
}

// nothingUrgentWasLeft compares each delivered value with each value that is more urgent. The more
// urgent value must not have been in the queue during the whole call that delivered the less urgent
// value.
func nothingUrgentWasLeft(h *history.History) bool {
	ops, _ := h.Operations()
	in, out := make(map[string]history.Operation), make(map[string]history.Operation)
	maybe := int32(forever)
	for _, o := range ops {
		switch {
		case o.Invoke.Op == OpPut && o.Outcome() != session.Failed:
			in[o.Invoke.Arg] = o
		case o.Invoke.Op == OpTake && o.Outcome() == session.OK && o.Complete.Result != "":
			out[o.Complete.Result] = o
		case o.Invoke.Op == OpTake && o.Outcome() == session.Indeterminate:
			maybe = min(maybe, o.Invoke.Index)
		}
	}
	for b, got := range out {
		for a, put := range in {
			taken, any := out[a]
			there := put.Outcome() == session.OK || any // a delivered value was put
			if !there || in[b].Invoke == nil || put.Invoke.Priority >= in[b].Invoke.Priority {
				continue
			}
			from, to := put.End(), maybe
			if any {
				to = taken.Invoke.Index
				from = min(from, taken.Complete.Index)
			}
			if from < got.Invoke.Index && got.Complete.Index < to {
				return false
			}
		}
	}
	return true
}

// noTakeSlept checks that no take after the heal waits for longer than `soon` while the queue has
// an item all the time.
func noTakeSlept(h *history.History) bool {
	healed := h.PhaseStart(history.PhaseHealed)
	ops, _ := h.Operations()
	for _, o := range ops {
		first := max(healed.Index, o.Invoke.Index)
		for from := first; o.Invoke.Op == OpTake && from < heard(h, o); from++ {
			for to := from; to < heard(h, o) && somethingWasThere(ops, to); to++ {
				if h.Events[to+1].Time-h.Events[from].Time > soon {
					return false
				}
			}
		}
	}
	return true
}

// somethingWasThere reports whether a value was certainly in the queue right after the event with
// the index `at`. The put of the value must have completed. In addition, one of these conditions
// must be true:
//   - A take is known to have received the value, and this take had not begun.
//   - No take is known to have received the value, and no take that completed with an unknown
//     outcome had begun.
func somethingWasThere(ops []history.Operation, at int32) bool {
	return slices.ContainsFunc(ops, func(put history.Operation) bool {
		in, out, taken := put.End(), int32(forever), false
		for _, o := range ops {
			switch {
			case o.Invoke.Op != OpTake || o.Complete == nil:
			case o.Outcome() == session.OK && o.Complete.Result == put.Invoke.Arg:
				in, out, taken = min(in, o.Complete.Index), o.Invoke.Index, true
			case o.Outcome() == session.Indeterminate && !taken:
				out = min(out, o.Invoke.Index)
			}
		}
		return put.Invoke.Op == OpPut && put.Outcome() != session.Failed && in <= at && at < out
	})
}

// tinyAcks returns a history in which clients ack three values. An ack can have no effect, one
// effect or several effects.
func tinyAcks(r *rand.Rand, n int) *history.History {
	h := tinyOps(r, n, func(int16) *history.Event {
		return &history.Event{Object: "/q", Op: OpAck, Arg: fmt.Sprint(r.IntN(3))}
	}, func(*history.Event) {})
	all := h.Events[:len(h.Events)-1]
	for _, e := range slices.Clone(all) {
		if e.Kind == history.Invoke && r.IntN(8) > 0 {
			all = append(all, history.Event{Kind: history.Fact, Op: FactEffect, Object: "/q", Arg: e.Arg})
		}
	}
	for i := range all {
		all[i].Time = 0
	}
	return history.New(append(all, end())...)
}

func effectsWereCounted(h *history.History) bool {
	ops, _ := h.Operations()
	for value := range 3 {
		surely, maybe, effects := 0, 0, 0
		for _, o := range ops {
			switch {
			case o.Invoke.Arg != fmt.Sprint(value):
			case o.Outcome() == session.OK:
				surely++
			case o.Outcome() == session.Indeterminate:
				maybe++
			}
		}
		for _, e := range h.Events {
			if e.Op == FactEffect && e.Arg == fmt.Sprint(value) {
				effects++
			}
		}
		if effects < surely || effects > surely+maybe {
			return false
		}
	}
	return true
}

// Elections.

// tinyProclaims returns a random history in which leaders of rising epochs write values, and read
// the values of earlier leaders. A few of these events are of another election, which has the same
// values.
func tinyProclaims(r *rand.Rand, n int) *history.History {
	epoch, all := int64(1), map[string][]string{"/e": {""}, "/other": {""}}
	return tinyOps(r, n+1, func(int16) *history.Event {
		object := "/e"
		if r.IntN(5) == 0 {
			object = "/other"
		}
		switch r.IntN(5) {
		case 0:
			epoch++
		case 1, 2:
			epoch++
			return &history.Event{Object: object, Op: OpInherit, Token: epoch}
		}
		e := &history.Event{Object: object, Op: OpProclaim, Token: epoch, Arg: fmt.Sprint(len(all[object]))}
		all[object] = append(all[object], e.Arg)
		return e
	}, func(e *history.Event) {
		if e.Token = 0; e.Op == OpInherit {
			values := all[e.Object]
			if e.Result = values[len(values)-1]; r.IntN(3) == 0 {
				e.Result = values[r.IntN(len(values))]
			}
			if r.IntN(8) == 0 {
				e.Result = fmt.Sprint(1 + r.IntN(3))
			}
		}
	})
}

// heirsSawTheLatest compares the value that each new leader read with each write that is known to
// have succeeded.
func heirsSawTheLatest(h *history.History) bool {
	legal := true
	ops, _ := h.Operations()
	before := func(a, b history.Operation) bool {
		return a.Invoke.Token < b.Invoke.Token || a.Invoke.Token == b.Invoke.Token && a.Invoke.Index < b.Invoke.Index
	}
	completions(h, OpInherit, func(read history.Operation) {
		value, source := read.Complete.Result, history.Operation{}
		for _, o := range ops {
			if o.Invoke.Op == OpProclaim && o.Invoke.Object == read.Invoke.Object && o.Outcome() != session.Failed && o.Invoke.Arg == value && o.Invoke.Index < read.Complete.Index {
				source = o
			}
		}
		fine := value == "" || source.Invoke != nil
		for _, o := range ops {
			if o.Invoke.Op != OpProclaim || o.Invoke.Object != read.Invoke.Object || o.Outcome() != session.OK || o.Complete.Index > read.Invoke.Index {
				continue
			}
			if o.Invoke.Token >= read.Invoke.Token {
				return // a leader of this epoch or of a later one has written, so this read is not judged
			}
			fine = fine && source.Invoke != nil && !before(source, o)
		}
		legal = legal && fine
	})
	return legal
}

// tinyObservers returns a random history of campaigns, starts of terms, and notifications of
// clients about the leader. A few of these events are of another election.
func tinyObservers(r *rand.Rand, n int) *history.History {
	epoch := int64(0)
	return tinyOps(r, n+1, func(int16) *history.Event {
		object := "/e"
		if r.IntN(8) == 0 {
			object = "/other"
		}
		switch r.IntN(5) {
		case 0, 1:
			return &history.Event{Object: object, Op: OpCampaign}
		case 2:
			if epoch > 0 {
				return &history.Event{Kind: history.Hold, Op: history.HoldBegin, Object: object, Token: 1 + r.Int64N(epoch)}
			}
		}
		return &history.Event{Object: object, Op: OpLeader, Arg: [3]string{"", Present, Settled}[r.IntN(3)]}
	}, func(e *history.Event) {
		if e.Op == OpCampaign {
			epoch++
			e.Token = epoch
			return
		}
		e.Token = max(0, epoch-r.Int64N(3)/2+r.Int64N(8)/7)
		if e.Result = fmt.Sprint(e.Token); r.IntN(6) == 0 {
			e.Result = "0"
		}
	})
}

// observersWereRight compares each answer with each campaign, term and other answer.
func observersWereRight(h *history.History) bool {
	legal := true
	ops, _ := h.Operations()
	completions(h, OpLeader, func(o history.Operation) {
		told := o.Complete
		if o.Invoke.Arg == Settled && told.Result != fmt.Sprint(told.Token) {
			legal = false
		}
		if told.Token == 0 {
			return
		}
		known, future, unnamed := false, false, 0
		for _, c := range ops {
			switch {
			case c.Invoke.Op != OpCampaign || c.Invoke.Object != told.Object:
			case c.Outcome() == session.OK && c.Complete.Token == told.Token:
				known, future = true, c.Invoke.Index > told.Index
			case c.Outcome() != session.OK && c.Invoke.Index < told.Index:
				unnamed++
			}
		}
		unknown := make(map[int64]bool) // the epochs that were observed so far and of which no campaign is known
		completions(h, OpLeader, func(other history.Operation) {
			epoch, same := other.Complete.Token, other.Complete.Object == told.Object
			if same && other.Complete.Index <= told.Index && epoch != 0 && !campaigned(ops, told.Object, epoch) {
				unknown[epoch] = true
			}
		})
		legal = legal && !future && (known || len(unknown) <= unnamed)
		completions(h, OpLeader, func(other history.Operation) {
			earlier := other.Complete.Object == told.Object && other.Complete.Client == told.Client && other.Complete.Index < told.Index
			legal = legal && !(earlier && other.Complete.Token > told.Token)
		})
		for _, e := range h.Events[:o.Invoke.Index] {
			begun := o.Invoke.Arg == Present && e.Op == history.HoldBegin && e.Object == told.Object
			legal = legal && !(begun && e.Token > told.Token)
		}
	})
	return legal
}

// The function `campaigned` reports whether a campaign for object completed with the given epoch.
func campaigned(ops []history.Operation, object string, epoch int64) bool {
	return slices.ContainsFunc(ops, func(o history.Operation) bool {
		return o.Invoke.Op == OpCampaign && o.Invoke.Object == object && o.Outcome() == session.OK && o.Complete.Token == epoch
	})
}

// Barriers.

// removalsWereSeen compares each wait with each removal. If the wait had lasted for at least `soon`
// when the removal began, the wait must end within `soon` after the removal. Time before the heal
// does not count.
func removalsWereSeen(h *history.History) bool {
	healed := h.PhaseStart(history.PhaseHealed)
	if healed == nil {
		return true
	}
	legal := true
	ops, _ := h.Operations()
	completions(h, OpRemove, func(remove history.Operation) {
		for _, wait := range ops {
			for _, now := range h.Events {
				waits := wait.Invoke.Op == OpWait && wait.Invoke.Index <= now.Index && now.Index <= heard(h, wait) && now.Time >= healed.Time
				if waits && remove.Invoke.Time-max(wait.Invoke.Time, healed.Time) >= soon && now.Time-remove.Complete.Time > soon {
					legal = false
				}
			}
		}
	})
	return legal
}

// roundsWentOn returns false if a member waits for longer than the time limit `soon`. The wait
// counts from the latest of three events: the heal, the completion of another member's call in the
// same round, and the invocation of the waiting member's call.
func roundsWentOn(h *history.History) bool {
	healed := h.PhaseStart(history.PhaseHealed)
	legal := true
	ops, _ := h.Operations()
	for _, op := range []string{OpEnter, OpLeave} {
		completions(h, op, func(through history.Operation) {
			for _, o := range ops {
				for _, now := range h.Events {
					stuck := o.Invoke.Op == op && o.Invoke.Round == through.Invoke.Round && now.Index <= heard(h, o) && heard(h, o) >= healed.Index
					if stuck && now.Time-max(healed.Time, through.Complete.Time, o.Invoke.Time) > soon {
						legal = false
					}
				}
			}
		})
	}
	return legal
}

// Sessions.

// tinyExpiry returns a random history of one session with a timeout of three milliseconds: its
// requests and its end.
func tinyExpiry(r *rand.Rand, n int) *history.History {
	begun, ended := false, false
	return tinyOps(r, n+2, func(c int16) *history.Event {
		switch {
		case !begun:
			begun = true
			return &history.Event{Kind: history.Session, Op: history.SessionNew, Session: 7, Arg: "3ms"}
		case !ended && r.IntN(4) == 0:
			ended = true
			return &history.Event{Kind: history.Session, Op: history.SessionExpired, Session: 7, Arg: [4]string{"", "", "", "closed"}[r.IntN(4)]}
		case r.IntN(8) == 0:
			return &history.Event{Kind: history.Session, Op: history.SessionConnected, Session: 7}
		case c == 0 && !ended:
			return &history.Event{Op: OpSetValue, Session: 7}
		}
		return &history.Event{Op: "other"}
	}, func(*history.Event) {})
}

// expiryHadAReason searches for a time t at which the servers may have received the last request of
// the session. The session must expire between t + timeout and t + timeout + soon. The earliest
// possible t is the invocation of the last successful request. The latest possible t is the last
// event of the session. If a request was still open when the session expired, the latest possible t
// is the expiry.
func expiryHadAReason(h *history.History) bool {
	const timeout, step = 3 * time.Millisecond, time.Millisecond / 4
	first, last := -time.Second/10, time.Duration(0)
	var expired *history.Event
	for i := range h.Events {
		switch e := &h.Events[i]; {
		case e.Op == history.SessionExpired:
			expired = e
		case e.Session == 7 && expired == nil:
			last = e.Time
		}
	}
	if expired == nil || expired.Arg == "closed" {
		return true
	}
	ops, _ := h.Operations()
	for _, o := range ops {
		if o.Invoke.Session == 7 && o.Invoke.Index < expired.Index && (o.Complete == nil || o.Complete.Index > expired.Index) {
			last = expired.Time // the request may have been sent as late as this
		}
	}
	completions(h, OpSetValue, func(o history.Operation) { first = max(first, o.Invoke.Time) })
	for heard := first; heard <= last; heard += step {
		if after := expired.Time - heard; after >= timeout && after <= timeout+soon {
			return true
		}
	}
	return false
}

// Watches.

// tinyWatches returns a random history of two clients and one znode. The clients report the events
// of their watches, and the states of the znode. The versions mostly rise.
func tinyWatches(r *rand.Rand, n int) *history.History {
	var all []history.Event
	zxid, node := int64(1), int64(1)
	for range n + 4 {
		c := int16(r.IntN(2))
		e := history.Event{Kind: history.Watch, Object: "/x", Client: c, Process: int32(c), Session: int64(c + 1), Watch: int32(1 + r.IntN(2)), Zxid: zxid}
		switch r.IntN(10) {
		case 0, 1:
			e.Op = WatchSet
		case 2:
			e.Op = WatchFired
		case 3:
			e.Op = WatchEnded
		case 4:
			e.Kind, e.Op = history.Session, history.SessionLost
		case 5, 6:
			e.Kind, e.Op = history.OK, OpRead
			invoke := e
			invoke.Kind = history.Invoke
			all = append(all, invoke)
		case 7:
			e.Kind, e.Op, e.Token = history.Fact, FactFinal, node
		default:
			e.Op, e.Token, e.Arg = WatchState, node, [2]string{"changed", "recreated"}[r.IntN(2)]
		}
		all = append(all, e)
		if r.IntN(2) == 0 {
			zxid++
		}
		if r.IntN(2) == 0 {
			node = int64(r.IntN(3))
		}
	}
	return history.New(append(all, end())...)
}

// The function `one` reports whether events a and b are of the same registration.
func one(a, b history.Event) bool { return a.Client == b.Client && a.Watch == b.Watch }

// The event with index i registers a watch. The function `standing` reports whether this watch is
// still registered at the event with index `at`. Between these two events, the watch must not have
// fired, ended, or been registered again.
func standing(h *history.History, i, at int) bool {
	for _, e := range h.Events[i+1 : at] {
		if e.Kind == history.Watch && e.Op != WatchState && one(e, h.Events[i]) {
			return false
		}
	}
	return true
}

func eventsCameFirst(h *history.History) bool {
	for at, read := range h.Events {
		for i, set := range h.Events[:at] {
			if read.Kind == history.OK && set.Op == WatchSet && set.Client == read.Client && set.Zxid < read.Zxid && standing(h, i, at) {
				return false
			}
		}
	}
	return true
}

// everyTwoStates returns false if a pair of states is wrong. It calls the function `wrong` for each
// state of a watcher and each later state of the same watcher. The argument `next` is true if no
// other state of the watcher is between the two.
func everyTwoStates(h *history.History, wrong func(a, b history.Event, next bool) bool) bool {
	for i, a := range h.Events {
		next := true
		for _, b := range h.Events[i+1:] {
			if a.Op == WatchState && b.Op == WatchState && one(a, b) {
				if wrong(a, b, next) {
					return false
				}
				next = false
			}
		}
	}
	return true
}

func statesRose(h *history.History) bool {
	return everyTwoStates(h, func(a, b history.Event, _ bool) bool { return a.Zxid >= b.Zxid })
}

func recreationsWereTold(h *history.History) bool {
	return everyTwoStates(h, func(a, b history.Event, next bool) bool {
		return next && a.Token != 0 && b.Token != 0 && a.Token != b.Token && b.Arg != "recreated"
	})
}

func firedOnce(h *history.History) bool {
	for at, fired := range h.Events {
		if fired.Op != WatchFired {
			continue
		}
		set := false
		for _, e := range h.Events[:at] {
			if e.Kind != history.Watch || !one(e, fired) {
				continue
			}
			if set = set || e.Op == WatchSet; e.Op == WatchFired || e.Op == WatchEnded {
				return false
			}
		}
		if !set {
			return false
		}
	}
	return true
}

// endedAtTheLast compares the final state with the last state of each watcher that has not ended.
func endedAtTheLast(h *history.History) bool {
	var final *history.Event
	for i := range h.Events {
		if h.Events[i].Op == FactFinal {
			final = &h.Events[i]
		}
	}
	for i, e := range h.Events {
		later := slices.ContainsFunc(h.Events[i+1:], func(other history.Event) bool {
			return (other.Op == WatchState || other.Op == WatchEnded) && one(e, other)
		})
		if e.Op != WatchState || later || final == nil {
			continue
		}
		if gone := final.Token == 0 && e.Token == 0; !gone && (e.Zxid != final.Zxid || e.Token != final.Token) {
			return false
		}
	}
	return true
}

// endedWithTheSession reports whether two conditions are met: no watch has an event after its end,
// and each watch of a lost session has fired or ended.
func endedWithTheSession(h *history.History) bool {
	for i, e := range h.Events {
		for _, over := range h.Events[:i] {
			if e.Kind == history.Watch && e.Op != WatchSet && over.Op == WatchEnded && one(e, over) {
				return false
			}
		}
		lost := slices.ContainsFunc(h.Events, func(other history.Event) bool {
			return other.Op == history.SessionLost && other.Session == e.Session
		})
		if e.Op == WatchSet && lost && standing(h, i, len(h.Events)) {
			return false
		}
	}
	return true
}

// tinyCauses returns a random history with one watch at a time, and with changes of the znode. A
// change may have caused an event of the watch.
func tinyCauses(r *rand.Rand, n int) *history.History {
	zxid, round := int64(1), int32(0)
	return tinyOps(r, n+2, func(c int16) *history.Event {
		e := &history.Event{Kind: history.Watch, Object: "/x", Zxid: zxid, Watch: round, Op: WatchFired}
		switch {
		case c > 0:
			return &history.Event{Object: "/x", Op: OpSetValue}
		case r.IntN(2) == 0:
			round++
			e.Op, e.Watch = WatchSet, round
		}
		return e
	}, func(e *history.Event) {
		zxid++
		e.Zxid = zxid
	})
}

// eventsHadACause checks that each event of a watch has a possible cause: a change that began
// before the event. This change must have an unknown outcome, or a higher zxid than the version of
// the event that registered the watch.
func eventsHadACause(h *history.History) bool {
	ops, _ := h.Operations()
	for at, fired := range h.Events {
		for i, set := range h.Events[:at] {
			last := !slices.ContainsFunc(h.Events[i+1:at], func(e history.Event) bool { return e.Op == WatchSet && one(e, fired) })
			if fired.Op != WatchFired || set.Op != WatchSet || !one(set, fired) || !last {
				continue
			}
			if !slices.ContainsFunc(ops, func(o history.Operation) bool {
				newer := o.Outcome() == session.Indeterminate || o.Outcome() == session.OK && o.Complete.Zxid > set.Zxid
				return newer && o.Invoke.Index < fired.Index
			}) {
				return false
			}
		}
	}
	return true
}

// Groups.

// tinyGroup returns a random history in which clients join, leave and list the members of two
// groups. Some lists miss a member, or contain a client that is not a member.
func tinyGroup(r *rand.Rand, n int) *history.History {
	joined := map[string]*[3]string{"/g": {}, "/other": {}}
	var ids []string
	return tinyOps(r, n+6, func(c int16) *history.Event {
		object := "/g"
		if r.IntN(4) == 0 {
			object = "/other"
		}
		id := &joined[object][c]
		switch {
		case r.IntN(3) == 0:
			return &history.Event{Object: object, Op: OpMembers, Arg: [3]string{Present, Present, ""}[r.IntN(3)]}
		case *id == "":
			*id = fmt.Sprint(len(ids))
			ids = append(ids, *id)
			return &history.Event{Object: object, Op: OpJoin, Arg: *id}
		case r.IntN(3) == 0:
			e := &history.Event{Object: object, Op: OpLeave, Arg: *id}
			*id = ""
			return e
		}
		return &history.Event{Object: object, Op: OpUpdate, Arg: *id}
	}, func(e *history.Event) {
		if e.Op != OpMembers {
			return
		}
		for i, id := range ids {
			if there := slices.Contains(joined[e.Object][:], id); there && r.IntN(10) > 0 || !there && r.IntN(20) == 0 {
				e.Result += fmt.Sprintf("%s@%d ", id, i)
			}
		}
		if r.IntN(20) == 0 {
			e.Result += "99"
		}
	})
}

// The function `joins` calls f for each join of the group, unless the join failed. The second
// argument of f has the later operations of the client, up to its next join of the group.
func joins(h *history.History, group string, f func(join history.Operation, then []history.Operation)) {
	ops, _ := h.Operations()
	isJoin := func(o history.Operation) bool { return o.Invoke.Op == OpJoin && o.Outcome() != session.Failed }
	for i, o := range ops {
		if !isJoin(o) || o.Invoke.Object != group {
			continue
		}
		var then []history.Operation
		for _, other := range ops[i+1:] {
			if other.Invoke.Client != o.Invoke.Client {
				continue
			}
			if isJoin(other) && other.Invoke.Object == group {
				break
			}
			then = append(then, other)
		}
		f(o, then)
	}
}

// membersWereListed checks each answer that must not be old. A client is wrongly missing from the
// answer if three conditions are met:
//   - Its join completed before the call that got the answer.
//   - After the answer, the client sent a request that succeeded.
//   - The client did not begin to leave before that request.
func membersWereListed(h *history.History) bool {
	legal := true
	completions(h, OpMembers, func(answer history.Operation) {
		joins(h, answer.Invoke.Object, func(join history.Operation, then []history.Operation) {
			listed := slices.Contains(idsIn(answer.Complete.Result), join.Invoke.Arg)
			if answer.Invoke.Arg != Present || listed || join.Outcome() != session.OK || join.Complete.Index > answer.Invoke.Index {
				return
			}
			for _, o := range then {
				if o.Invoke.Op == OpLeave {
					if o.Invoke.Object == join.Invoke.Object {
						return
					}
					continue // a leave does not prove that the client's session lived
				}
				old := o.Invoke.Op == OpMembers && o.Invoke.Arg != Present
				if o.Outcome() == session.OK && !old && o.Invoke.Index > answer.Complete.Index {
					legal = false
				}
			}
		})
	})
	return legal
}

// listedWereMembers checks each listed member. The join of the member must have begun before the
// answer. If the answer must not be old, there is a second condition: the member must not have
// completed a leave between this join and the call that got the answer.
func listedWereMembers(h *history.History) bool {
	legal := true
	completions(h, OpMembers, func(answer history.Operation) {
		for _, id := range idsIn(answer.Complete.Result) {
			asked := slices.ContainsFunc(h.Events[:answer.Complete.Index], func(e history.Event) bool {
				return e.Kind == history.Invoke && e.Op == OpJoin && e.Object == answer.Invoke.Object && e.Arg == id
			})
			there := answer.Invoke.Arg != Present
			joins(h, answer.Invoke.Object, func(join history.Operation, then []history.Operation) {
				gone := slices.ContainsFunc(then, func(o history.Operation) bool {
					return o.Invoke.Op == OpLeave && o.Invoke.Object == join.Invoke.Object && o.Outcome() == session.OK && o.Complete.Index < answer.Invoke.Index
				})
				there = there || join.Invoke.Arg == id && !gone
			})
			legal = legal && asked && there
		}
	})
	return legal
}

// Counters.

// tinyCounts returns random calls on a simulated counter. A call takes effect at its end. Sometimes
// its result is made up.
func tinyCounts(r *rand.Rand, n int) *history.History {
	value := int64(0)
	var open [3]history.Event // the latest call of each client
	return tinyOps(r, min(n, 6), func(client int16) *history.Event {
		e := &history.Event{Object: "/n", Op: [4]string{OpAdd, OpAdd, OpGet, OpCompareAndSet}[r.IntN(4)]}
		switch {
		case e.Op == OpAdd && r.IntN(4) == 0:
			e.Op, e.Arg = OpSet, fmt.Sprint(r.IntN(4))
		case e.Op == OpAdd:
			e.Arg = fmt.Sprint(r.IntN(4) - 1)
		case e.Op == OpCompareAndSet:
			e.Arg = fmt.Sprintf("%d %d", r.IntN(3), r.IntN(4))
		}
		open[client] = *e
		return e
	}, func(e *history.Event) {
		before := value
		if e.Kind != history.Fail && (e.Kind != history.Info || r.IntN(2) == 0) {
			value = counted(value, open[e.Client])
		}
		if e.Kind == history.OK {
			e.Result = countResult(before, value, open[e.Client])
		}
		if r.IntN(10) == 0 && e.Op != OpCompareAndSet {
			e.Result = fmt.Sprint(value + 1)
		}
	})
}

// The function `counted` returns the value after a call.
func counted(value int64, call history.Event) int64 {
	from, to := 0, 0
	switch call.Op {
	case OpAdd:
		return value + int64(number(call.Arg, 1))
	case OpSet:
		return int64(number(call.Arg, 0))
	case OpCompareAndSet:
		if fmt.Sscan(call.Arg, &from, &to); value == int64(from) {
			return int64(to)
		}
	}
	return value
}

func countResult(before, after int64, call history.Event) string {
	from := 0
	switch call.Op {
	case OpAdd, OpGet:
		return fmt.Sprint(after)
	case OpCompareAndSet:
		if fmt.Sscan(call.Arg, &from); before == int64(from) {
			return Swapped
		}
	}
	return ""
}

// countsHadAnOrder reports whether the calls can have taken effect one after another with the
// results that they returned. It tries every order that respects real time: a call that succeeded
// comes before each call that began after this success. A call without an answer may be left out.
func countsHadAnOrder(h *history.History) bool {
	ops, _ := h.Operations()
	ops = slices.DeleteFunc(slices.Clone(ops), func(o history.Operation) bool { return o.Outcome() == session.Failed })
	var try func(left []history.Operation, value int64) bool
	try = func(left []history.Operation, value int64) bool {
		first, done := int32(forever), true
		for _, o := range left {
			if o.Outcome() == session.OK {
				first, done = min(first, o.Complete.Index), false
			}
		}
		if done {
			return true
		}
		for i, o := range left {
			if o.Invoke.Index > first {
				continue // a remaining call ended before this one began
			}
			after := counted(value, *o.Invoke)
			if o.Outcome() == session.OK && o.Invoke.Op != OpSet && countResult(value, after, *o.Invoke) != o.Complete.Result {
				continue
			}
			if try(slices.Delete(slices.Clone(left), i, i+1), after) {
				return true
			}
		}
		return false
	}
	return try(ops, 0)
}
