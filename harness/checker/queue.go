package checker

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of queues. Each value is put once.
const (
	OpPut  = "put"  // puts the value in Arg; Priority is its priority, if the queue has priorities
	OpTake = "take" // completes with the value in Result; OK without a value means that the queue was empty
	// OpClaim delivers an item to a claimer until the claimer acks or returns it.
	OpClaim = "claim"
	OpAck   = "ack" // acknowledges the value in Arg
	// OpReturn returns the value in Arg. Token is the token of the claim, or zero for the client's
	// latest claim of the value.
	OpReturn = "return"
)

// Queue returns the checkers of a queue with takes: queue/nothing-invented, queue/nothing-lost,
// queue/nothing-twice, queue/fifo-order, queue/empty-is-true and queue/drained-is-empty.
func Queue() []Checker {
	return []Checker{QueueNothingInvented(), QueueNothingLost(), QueueNothingTwice(), queueFIFOOrder(), QueueEmptyIsTrue(), QueueDrainedIsEmpty()}
}

// An item is everything that a history shows about one value.
type item struct {
	object, value string
	put           history.Operation   // zero if it was never put
	gone          []history.Operation // takes that delivered it, or acks
	claims        []history.Operation
}

// The method `out` returns the first delivery of the value: a claim if there is one, otherwise a
// take.
func (it *item) out() (o history.Operation, delivered bool) {
	if len(it.claims) > 0 {
		return it.claims[0], true
	}
	if len(it.gone) > 0 && it.gone[0].Invoke.Op == OpTake {
		return it.gone[0], true
	}
	return o, false
}

// putEnd returns the index from which on the value surely was in the queue. If the put is
// indeterminate, this is the completion of the first delivery, because only a value in the queue
// can be delivered.
func (it *item) putEnd() int32 {
	end := it.put.End()
	if o, delivered := it.out(); end == forever && delivered {
		return o.Complete.Index
	}
	return end
}

// The method `here` reports whether the value surely was in the queue at some time.
func (it *item) here() bool { return it.put.Invoke != nil && it.putEnd() != forever }

// The type `items` has the values of one history, in order of their first event.
type items struct {
	list    []*item
	byValue map[[2]string]*item
	empties []history.Operation // takes and claims that found nothing
	unknown []history.Operation // indeterminate takes, claims and acks
	puts    map[string]int32    // by queue, the index of the last event of any put
}

func (s *items) of(object, value string) *item {
	key := [2]string{object, value}
	it := s.byValue[key]
	if it == nil {
		it = &item{object: object, value: value}
		s.byValue[key] = it
		s.list = append(s.list, it)
	}
	return it
}

func collect(h *history.History) *items {
	s := &items{byValue: make(map[[2]string]*item), puts: make(map[string]int32)}
	ops, _ := h.Operations()
	for _, o := range ops {
		ok := o.Outcome() == session.OK
		switch o.Invoke.Op {
		case OpPut:
			if o.Outcome() != session.Failed {
				s.of(o.Invoke.Object, o.Invoke.Arg).put = o
			}
			last := o.Invoke
			if o.Complete != nil {
				last = o.Complete
			}
			s.puts[last.Object] = max(s.puts[last.Object], last.Index)
		case OpTake, OpClaim, OpAck:
			switch {
			case o.Outcome() == session.Indeterminate:
				s.unknown = append(s.unknown, o)
			case !ok:
			case o.Invoke.Op == OpAck:
				it := s.of(o.Invoke.Object, o.Invoke.Arg)
				it.gone = append(it.gone, o)
			case o.Complete.Result == "":
				s.empties = append(s.empties, o)
			case o.Invoke.Op == OpTake:
				it := s.of(o.Invoke.Object, o.Complete.Result)
				it.gone = append(it.gone, o)
			default:
				it := s.of(o.Invoke.Object, o.Complete.Result)
				it.claims = append(it.claims, o)
			}
		}
	}
	return s
}

// QueueNothingInvented judges deliveries. It requires that each delivered value was put, and that
// this put began before the delivery completed.
func QueueNothingInvented() Checker {
	return New("queue/nothing-invented", "only items that were put are delivered", func(h *history.History, j *Judge) {
		for _, it := range collect(h).list {
			for _, o := range slices.Concat(it.gone, it.claims) {
				j.Checked(1)
				if it.put.Invoke == nil {
					j.Violation(o.Events(), "%s got %q from %s at %v, but no client had put it", o.Invoke.Who(), it.value, it.object, o.Complete.Time)
				} else if it.put.Invoke.Index > o.Complete.Index {
					j.Violation(inOrder(o.Events(), it.put.Events()), "%s got %q from %s at %v, before it was put at %v",
						o.Invoke.Who(), it.value, it.object, o.Complete.Time, it.put.Invoke.Time)
				}
			}
		}
		j.NotExercised("no item was delivered")
	})
}

// The method `drained` finds, for each queue, the last take or claim that found no item. It
// considers only calls that began after the last event of every put into that queue. The result
// maps each queue to the index of the event that invoked the call.
func (s *items) drained() map[string]int32 {
	all := make(map[string]int32)
	for _, o := range s.empties {
		if o.Invoke.Index > s.puts[o.Invoke.Object] {
			all[o.Invoke.Object] = o.Invoke.Index
		}
	}
	return all
}

// QueueNothingLost judges puts. It considers each value whose put succeeded. It requires that,
// after the queue has been drained, the value has been taken or acked, or a claimer still holds it.
// A call with an unknown outcome may explain a missing value:
//   - An indeterminate take explains one missing value.
//   - An indeterminate claim explains one missing value, unless the claim ended before the queue
//     was drained.
//   - An indeterminate ack explains its own value. If the history has any FactEffect, the ack
//     explains the value only if a FactEffect shows the effect of an ack of this value.
func QueueNothingLost() Checker {
	return New("queue/nothing-lost", "no item is lost", func(h *history.History, j *Judge) {
		s, ends := collect(h), endings(h)
		drained := s.drained()
		maybe := make(map[string]int) // object -> takes and claims that may explain one missing value each
		acked := make(map[[2]string]bool)
		effects := effectsOf(h)
		for _, o := range s.unknown {
			switch object := o.Invoke.Object; {
			case o.Invoke.Op == OpAck:
				key := [2]string{object, o.Invoke.Arg}
				acked[key] = len(effects) == 0 || len(effects[key]) > 0
			case o.Invoke.Op == OpTake || ends.stands(h, o, drained[object]):
				maybe[object]++
			}
		}
		lost := make(map[string][]*item)
		for _, it := range s.list {
			if it.put.Invoke == nil || it.put.Outcome() != session.OK {
				continue
			}
			j.Checked(1)
			at, known := drained[it.object]
			switch {
			case !known:
				j.Unknown("%s was not drained after the last put", it.object) // what was not delivered may still be there
			case len(it.gone) > 0 || acked[[2]string{it.object, it.value}]:
			case !slices.ContainsFunc(it.claims, func(o history.Operation) bool { return ends.stands(h, o, at) }):
				lost[it.object] = append(lost[it.object], it)
			}
		}
		for object, all := range sorted(lost) {
			if n := len(all) - maybe[object]; n > 0 {
				j.Violation(all[0].put.Events(), "%d values put into %s were never delivered, and %d indeterminate calls may account for as many; the first value is %q, put by %s at %v",
					len(all), object, maybe[object], all[0].value, all[0].put.Invoke.Who(), all[0].put.Invoke.Time)
			}
		}
		j.NotExercised("nothing was put")
	})
}

// QueueNothingTwice judges deliveries. It requires that no value is taken or acked twice, and that
// none is claimed after an ack. A value must not be claimed again before one of these events:
//   - The claimer began to return the value, or gave up its hold. Such an event must come before
//     the next claim.
//   - The claimer crashed, its session ended, or its hold was lost. Such an event may also be
//     recorded at the same instant as the next claim.
//
// The hold of a claimer is a hold of the object "<queue>/<value>".
func QueueNothingTwice() Checker {
	return New("queue/nothing-twice", "no item is delivered twice", func(h *history.History, j *Judge) {
		ends, outside := endings(h), Envelope{}.outside(h)
		for _, it := range collect(h).list {
			j.Checked(len(it.gone) + len(it.claims))
			if len(it.gone) > 1 {
				a, b := it.gone[0], it.gone[1]
				j.Violation(inOrder(a.Events(), b.Events()), "%q of %s was delivered twice: to %s at %v and to %s at %v",
					it.value, it.object, a.Invoke.Who(), a.Complete.Time, b.Invoke.Who(), b.Complete.Time)
			}
			reclaimed(h, j, it, ends, outside)
		}
		j.NotExercised("no item was delivered")
	})
}

// A claimKey names the claims of one value by one client that have the same token. A later claim of
// the value has another token, and thus another key. So the end of the earlier claim does not count
// as the end of the later one. If claims have no tokens, the token is zero.
type claimKey struct {
	queue, value string
	client       int16
	token        int64
}

// claimEnds has the indexes of events that end claims: all claims of a session, all claims of a
// client, or one claim.
type claimEnds struct {
	session  map[int64][]int32
	client   map[int16][]int32
	returned map[claimKey][]int32 // the claimer began to return the value, or gave up its hold
	lost     map[claimKey][]int32
	over     map[claimKey][]int32 // the return succeeded, or the claimer was notified of a loss
}

func endings(h *history.History) claimEnds {
	ends := claimEnds{session: make(map[int64][]int32), client: make(map[int16][]int32),
		returned: make(map[claimKey][]int32), lost: make(map[claimKey][]int32), over: make(map[claimKey][]int32)}
	returns := make(map[int32]claimKey) // process -> the claim that it returns
	last := make(map[claimKey]int64)    // key without a token -> the token of the client's latest claim
	// The event e is the invocation of a claim's return, or the end of a claim's hold. The function
	// `of` returns the key of this claim. An event without a token belongs to the client's latest
	// claim of the value.
	of := func(e *history.Event, queue, value string) claimKey {
		key := claimKey{queue, value, e.Client, 0}
		key.token = cmp.Or(e.Token, last[key])
		return key
	}
	for i := range h.Events {
		e := &h.Events[i]
		switch {
		case e.Kind == history.Session && (e.Op == history.SessionLost || e.Op == history.SessionClosed || e.Op == history.SessionExpired):
			ends.session[e.Session] = append(ends.session[e.Session], e.Index)
		case e.Kind == history.Crash:
			ends.client[e.Client] = append(ends.client[e.Client], e.Index)
		case e.Kind == history.OK && e.Op == OpClaim:
			last[claimKey{e.Object, e.Result, e.Client, 0}] = e.Token
		case e.Kind == history.Invoke && e.Op == OpReturn:
			key := of(e, e.Object, e.Arg)
			ends.returned[key] = append(ends.returned[key], e.Index)
			returns[e.Process] = key
		case e.Kind == history.OK && e.Op == OpReturn:
			key := returns[e.Process]
			ends.over[key] = append(ends.over[key], e.Index)
		case e.Kind == history.Hold && e.Op != history.HoldBegin:
			object, value := path.Split(e.Object)
			key := of(e, strings.TrimSuffix(object, "/"), value)
			if e.Op == history.HoldEnd {
				ends.returned[key] = append(ends.returned[key], e.Index)
				continue
			}
			ends.lost[key] = append(ends.lost[key], e.Index)
			ends.over[key] = append(ends.over[key], e.Index)
		}
	}
	return ends
}

// The method `died` reports whether the claimer's session ended, or the claimer crashed, after the
// claim was invoked and before the event with the index `at`.
func (ends claimEnds) died(claim history.Operation, at int32) bool {
	from := claim.Invoke.Index
	return between(ends.session[claim.Invoke.Session], from, at) || between(ends.client[claim.Invoke.Client], from, at)
}

// The function `keyOf` returns the key of a claim that succeeded.
func keyOf(claim history.Operation) claimKey {
	got := claim.Complete
	return claimKey{got.Object, got.Result, got.Client, got.Token}
}

// The method `stands` reports whether the servers may still have a claim at the event with the
// index `at`. Call it only for a claim that succeeded or whose outcome is unknown.
//
// A claimer may notice the end of its claim before the servers end the claim. At the end of a run,
// the workload drains the queue, and gives the servers time to end such claims. A history that was
// cut short may lack this drain, so the servers may still have a claim whose end was recorded. For
// such a history, the result is always true.
func (ends claimEnds) stands(h *history.History, claim history.Operation, at int32) bool {
	if !h.Complete() {
		return true
	}
	over := claim.Outcome() == session.OK && between(ends.over[keyOf(claim)], claim.Complete.Index, at)
	return !over && !ends.died(claim, at)
}

// The function `between` reports whether one of the indexes is at least `from` and less than `to`.
func between(indexes []int32, from, to int32) bool {
	i, _ := slices.BinarySearch(indexes, from)
	return i < len(indexes) && indexes[i] < to
}

// The function `next` returns the time of the first event whose index is in `indexes` and is at
// least `from`. If there is no such event, it returns the largest possible time.
func next(h *history.History, indexes []int32, from int32) time.Duration {
	if i, _ := slices.BinarySearch(indexes, from); i < len(indexes) {
		return h.Events[indexes[i]].Time
	}
	return math.MaxInt64
}

// lastAt returns the index that follows all events with the same time as e. On a virtual clock, a
// claimer can be notified of a loss at the same instant at which another claimer gets the item. In
// this case the order of the two events in the history means nothing.
func lastAt(h *history.History, e *history.Event) int32 {
	i := int(e.Index)
	for i < len(h.Events) && h.Events[i].Time == e.Time {
		i++
	}
	return int32(i)
}

func reclaimed(h *history.History, j *Judge, it *item, ends claimEnds, outside windows) {
	// Tokens give the order of claims, even if a claim was recorded late. Claims without tokens are
	// in the order in which they succeeded.
	claims := slices.Clone(it.claims)
	slices.SortFunc(claims, func(a, b history.Operation) int {
		return cmp.Or(cmp.Compare(a.Complete.Token, b.Complete.Token), cmp.Compare(a.Complete.Index, b.Complete.Index))
	})
	for i, claim := range claims {
		for _, gone := range it.gone {
			if gone.Complete.Index < claim.Invoke.Index {
				j.Violation(inOrder(gone.Events(), claim.Events()), "%s claimed %q of %s at %v, after it had been acked at %v",
					claim.Invoke.Who(), it.value, it.object, claim.Complete.Time, gone.Complete.Time)
			}
		}
		if i == 0 {
			continue
		}
		last := claims[i-1]
		key, from, to := keyOf(last), last.Complete.Index, lastAt(h, claim.Complete)
		if ends.died(last, to) || between(ends.lost[key], from, to) || between(ends.returned[key], from, claim.Complete.Index) {
			continue
		}
		at := claim.Complete.Time
		lost, returned := next(h, ends.lost[key], to), next(h, ends.returned[key], claim.Complete.Index)
		over := min(lost, returned, h.End())
		if lost != returned && outside.explains(at, over, lost == over, last.Invoke.Client) {
			j.Exposed(over - at)
			continue
		}
		j.Violation(inOrder(last.Events(), claim.Events()), "%s claimed %q of %s at %v while %s held its claim, from %v on, and both held it for %v",
			claim.Invoke.Who(), it.value, it.object, claim.Complete.Time, last.Invoke.Who(), last.Complete.Time, over-at)
	}
}

// queueFIFOOrder judges order. It requires that, if a was put before b in real time, b is not
// delivered before a. The properties queue/fifo-order, queue/nothing-invented, queue/nothing-twice
// and queue/empty-is-true together mean that a FIFO queue of distinct values is linearizable
// (Henzinger, Sezgin, Vafeiadis: Aspect-Oriented Linearizability Proofs, 2013). The checker finds a
// wrong pair in one sweep, in O(n log n).
//
// An indeterminate take may have removed a value that was never delivered. From the invocation of
// the first indeterminate take on, such a value counts as removed. So the checker may miss a
// violation that concerns such a value, but it raises no false alarm.
func queueFIFOOrder() Checker {
	return New("queue/fifo-order", "items are delivered in the order of their puts, in real time", func(h *history.History, j *Judge) {
		s := collect(h)
		for object, list := range s.byQueue() {
			fifo(j, list, s.goneAt(object))
		}
		j.NotExercised("no two values were delivered")
	})
}

// byQueue yields the queues in order, each with the items that surely were in it.
func (s *items) byQueue() func(func(string, []*item) bool) {
	byObject := make(map[string][]*item)
	for _, it := range s.list {
		if it.here() {
			byObject[it.object] = append(byObject[it.object], it)
		}
	}
	return sorted(byObject)
}

// goneAt returns a function. For an item, this function returns the first index at which the item
// may have been delivered or acked.
func (s *items) goneAt(object string) func(*item) int32 {
	first := int32(forever) // the first invocation of an indeterminate take or claim, which may have taken any item
	acked := make(map[string]int32)
	for _, o := range s.unknown {
		switch {
		case o.Invoke.Object != object:
		case o.Invoke.Op == OpAck:
			if _, earlier := acked[o.Invoke.Arg]; !earlier { // the first ack of the value counts, and the operations are in order
				acked[o.Invoke.Arg] = o.Invoke.Index
			}
		default:
			first = min(first, o.Invoke.Index)
		}
	}
	return func(it *item) int32 {
		if o, delivered := it.out(); delivered && o.Invoke.Op == OpTake {
			return o.Invoke.Index
		} else if delivered {
			// An indeterminate claim may have come before the first known one.
			return min(o.Invoke.Index, first)
		}
		at := first
		if len(it.gone) > 0 {
			at = min(at, it.gone[0].Invoke.Index)
		}
		if may, unknown := acked[it.value]; unknown {
			at = min(at, may)
		}
		return at
	}
}

// The function `fifo` checks each delivered item b, in the order in which the puts began. It
// considers the items whose puts ended before the put of b began. Of these items, a is the one
// whose delivery began last. If the delivery of a began after the delivery of b had ended, a and b
// prove a violation.
func fifo(j *Judge, list []*item, goneAt func(*item) int32) {
	byEnd := slices.Clone(list)
	slices.SortFunc(byEnd, func(a, b *item) int { return cmp.Compare(a.putEnd(), b.putEnd()) })
	byStart := slices.Clone(list)
	slices.SortFunc(byStart, func(a, b *item) int { return cmp.Compare(a.put.Invoke.Index, b.put.Invoke.Index) })
	var last *item
	next := 0
	for _, b := range byStart {
		for ; next < len(byEnd) && byEnd[next].putEnd() < b.put.Invoke.Index; next++ {
			if last == nil || goneAt(byEnd[next]) > goneAt(last) {
				last = byEnd[next]
			}
		}
		got, delivered := b.out()
		if !delivered {
			continue
		}
		j.Checked(1)
		if last == nil || goneAt(last) <= got.Complete.Index {
			continue
		}
		j.Violation(inOrder(last.put.Events(), b.put.Events(), got.Events(), last.outEvents()),
			"%q was put into %s before %q, which %s got at %v, but %s", last.value, b.object, b.value,
			got.Invoke.Who(), got.Complete.Time, later(last))
	}
}

func (it *item) outEvents() []history.Event {
	if o, delivered := it.out(); delivered {
		return o.Events()
	}
	return nil
}

func later(it *item) string {
	o, delivered := it.out()
	if !delivered {
		return "it was never delivered"
	}
	return o.Invoke.Who() + " requested it only at " + o.Invoke.Time.String()
}

// A span is an interval of indexes, open at both ends, in which a queue was not empty. The field
// `proof` has the values that prove this.
type span struct {
	from, to int32
	proof    []*item
}

// The function `occupied` returns the spans in which a value was surely in the queue, in order.
// Spans that overlap are joined, because the queue was never empty in between.
func occupied(list []*item, goneAt func(*item) int32) []span {
	list = slices.DeleteFunc(list, func(it *item) bool { return it.putEnd() >= goneAt(it) })
	slices.SortFunc(list, func(a, b *item) int { return cmp.Compare(a.putEnd(), b.putEnd()) })
	var merged []span
	first := 0
	for i, it := range list {
		if n := len(merged); n > 0 && it.putEnd() < merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, goneAt(it))
			merged[n-1].proof = list[first : i+1]
			continue
		}
		first = i
		merged = append(merged, span{it.putEnd(), goneAt(it), list[i : i+1]})
	}
	return merged
}

// The function `around` returns the span that contains both indexes, if there is one.
func around(spans []span, from, to int32) (span, bool) {
	i, _ := slices.BinarySearchFunc(spans, from, func(s span, at int32) int { return cmp.Compare(s.from, at) })
	if i > 0 && spans[i-1].from < from && spans[i-1].to > to {
		return spans[i-1], true
	}
	return span{}, false
}

// QueueEmptyIsTrue judges takes that found nothing. It requires that the queue was empty at some
// moment during the call.
func QueueEmptyIsTrue() Checker {
	return New("queue/empty-is-true", "a take reports an empty queue only if the queue was empty", func(h *history.History, j *Judge) {
		s := collect(h)
		spans := s.occupied()
		for _, o := range s.empties {
			if o.Invoke.Op != OpTake {
				continue // a claim also finds nothing if all items are claimed
			}
			j.Checked(1)
			full, wrong := around(spans[o.Invoke.Object], o.Invoke.Index, o.Complete.Index)
			if !wrong {
				continue
			}
			witness := full.proof[0]
			for _, it := range full.proof {
				if it.putEnd() < o.Invoke.Index {
					witness = it // the last value that was put before the call
				}
			}
			j.Violation(inOrder(witness.put.Events(), o.Events(), witness.outEvents()), "%s found %s empty at %v, but it was never empty during the call: it had %q, for example",
				o.Invoke.Who(), o.Invoke.Object, o.Complete.Time, witness.value)
		}
		j.NotExercised("no take found the queue empty")
	})
}

// The method `occupied` returns the spans of each object.
func (s *items) occupied() map[string][]span {
	byObject := make(map[string][]*item)
	for _, it := range s.list {
		if it.here() {
			byObject[it.object] = append(byObject[it.object], it)
		}
	}
	all := make(map[string][]span)
	for object, list := range byObject {
		all[object] = occupied(list, s.goneAt(object))
	}
	return all
}

// QueueTakersWake judges liveness. It requires that, after the heal, no take waits for longer than
// inTime while the queue surely has an item.
func QueueTakersWake(inTime time.Duration) Checker {
	return New("queue/takers-wake", "a blocked take returns in time once there is an item", func(h *history.History, j *Judge) {
		healed := h.PhaseStart(history.PhaseHealed)
		if healed == nil {
			j.Unknown("the ensemble did not recover")
			return
		}
		s := collect(h)
		// An indeterminate take may have removed an item. So from the invocation of the take on,
		// the item is not surely in the queue. In a complete history, this does not apply to a take
		// without a completion. Such a take may have waited until the end of the run, and then this
		// checker must find it. So it must not count as the take that removed the item.
		s.unknown = slices.DeleteFunc(s.unknown, func(o history.Operation) bool { return o.Complete == nil && h.Complete() })
		spans, busy := s.occupied(), busyTimes(h)
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op != OpTake && o.Invoke.Op != OpClaim {
				continue
			}
			end, until := int32(forever), h.End()
			if o.Complete != nil {
				end, until = o.Complete.Index, o.Complete.Time
			}
			if end < healed.Index {
				continue
			}
			j.Checked(1)
			from := max(o.Invoke.Index, healed.Index)
			for _, full := range during(spans[o.Invoke.Object], from, end) {
				begin := h.Events[max(full.from, from)].Time
				stop := until
				if full.to < end {
					stop = h.Events[full.to].Time
				}
				if busy.overdue(j, o.Invoke.Who()+"'s wait for "+o.Invoke.Object, begin, stop, inTime) {
					first := full.proof[0]
					j.Violation(inOrder(first.put.Events(), o.Events()), "%s waited for %s from %v on, although the queue had items for %v of that time, %q first",
						o.Invoke.Who(), o.Invoke.Object, o.Invoke.Time, stop-begin, first.value)
					break
				}
			}
		}
		j.NotExercised("no client took an item after the heal")
	})
}

// The function `during` returns the spans that overlap the interval.
func during(spans []span, from, to int32) []span {
	i, _ := slices.BinarySearchFunc(spans, from, func(s span, at int32) int { return cmp.Compare(s.to, at) })
	n := i
	for n < len(spans) && spans[n].from < to {
		n++
	}
	return spans[i:n]
}

// QueueDrainedIsEmpty judges the end of the history. It requires that the count of "items" left in
// the queue is zero.
func QueueDrainedIsEmpty() Checker {
	return New("queue/drained-is-empty", "a drained queue is empty", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Fact || e.Op != history.FactLeft || e.Object != "items" {
				continue
			}
			j.Checked(1)
			if e.Result != "0" {
				j.Violation([]history.Event{*e}, "%s items are left in a drained queue: %s", e.Result, e.Arg)
			}
		}
		j.NotExercised("the items left in the queue were not counted")
	})
}
