package checker

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Events of watches. The field Watch is the number of a registration; its client uses each number
// once. Zxid is the version (the mzxid) of the znode that was read with the registration.
//
// A client library of ZooKeeper delivers a watch event before the reply that shows the change. A
// workload for WatchEventBeforeData must keep this order. Before it records a read, it must record
// the events that its watches have delivered.
const (
	WatchSet   = "set"   // registered with a read of version Zxid
	WatchFired = "fired" // its event arrived; Arg is the type
	WatchEnded = "ended" // it will never fire; Error says why

	// WatchState is a state that a watcher (package watch) reported. Zxid is its version. Token is
	// the czxid of the znode, zero if it does not exist. Arg is "initial", "changed", "created",
	// "deleted" or "recreated". The field Watch is the number of the watcher.
	WatchState = "state"
)

// FactFinal is the final state of Object, read after a sync. Zxid and Token have the same meaning
// as in a WatchState.
const FactFinal = "final"

// OpCreate creates Object. Like OpDelete, it completes with the zxid of the change. OpRecreate
// deletes and creates Object in one transaction.
const (
	OpCreate   = "create"
	OpRecreate = "recreate"
)

func alters(op string) bool {
	return op == OpSetValue || op == OpCreate || op == OpDelete || op == OpRecreate
}

// A registration identifies a watch, or a watcher of package watch.
type registration struct {
	client int16
	object string
	round  int32
}

func registrationOf(e *history.Event) registration {
	return registration{e.Client, e.Object, e.Watch}
}

// WatchEventBeforeData judges reads. A client registers a watch together with a read of the znode.
// While the watch is registered and has not fired, the client must not read a newer version of the
// znode than this first read returned.
func WatchEventBeforeData() Checker {
	return New("watch/event-before-data", "a client receives the event before it reads the new data", func(h *history.History, j *Judge) {
		type view struct {
			client  int16
			object  string
			session int64
		}
		waiting := make(map[view]*oldest)
		standing := make(map[registration]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			at := view{e.Client, e.Object, e.Session}
			switch {
			case e.Kind == history.Watch && e.Op == WatchSet:
				if waiting[at] == nil {
					waiting[at] = new(oldest)
				}
				standing[registrationOf(e)] = e
				heap.Push(waiting[at], e)
			case e.Kind == history.Watch && (e.Op == WatchFired || e.Op == WatchEnded):
				delete(standing, registrationOf(e))
			case e.Kind == history.OK && e.Op == OpRead && waiting[at] != nil:
				set := waiting[at].among(standing)
				if set == nil {
					continue
				}
				if j.Checked(1); e.Zxid > set.Zxid {
					j.Violation([]history.Event{*set, *e}, "%s read %s as of zxid 0x%x at %v, but its watch on 0x%x had not fired",
						e.Who(), e.Object, e.Zxid, e.Time, set.Zxid)
				}
			}
		}
		j.NotExercised("nothing was read while a watch was registered")
	})
}

// The type `oldest` is a heap of registrations with the oldest version at the top. A registration
// that has fired or ended is removed when it reaches the top.
type oldest []*history.Event

func (o oldest) Len() int { return len(o) }
func (o oldest) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(o[i].Zxid, o[j].Zxid), cmp.Compare(o[i].Index, o[j].Index)) < 0
}
func (o oldest) Swap(i, j int) { o[i], o[j] = o[j], o[i] }
func (o *oldest) Push(e any)   { *o = append(*o, e.(*history.Event)) }

func (o *oldest) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// The method `among` first removes the registrations at the top of the heap that have fired or
// ended. Then it returns the registration that is at the top, or nil if the heap is empty. The
// result has the oldest version of all registrations that have neither fired nor ended.
func (o *oldest) among(standing map[registration]*history.Event) *history.Event {
	for o.Len() > 0 {
		if first := (*o)[0]; standing[registrationOf(first)] == first {
			return first
		}
		heap.Pop(o)
	}
	return nil
}

// WatchStatesInOrder judges the order of states. It requires that each state that a watcher reports
// has a higher zxid than the state that the watcher reported before. When a znode is deleted, the
// watcher does not learn the zxid of the deletion. In its place, a workload must record the lowest
// zxid that the deletion can have: the zxid of the previous state plus one. Then a later state that
// is legal still has a higher zxid.
func WatchStatesInOrder() Checker {
	return New("watch/states-in-order", "states are reported in the order of their zxids, none of them twice", func(h *history.History, j *Judge) {
		for before, e := range successive(h) {
			j.Checked(1)
			if e.Zxid <= before.Zxid {
				j.Violation([]history.Event{*before, *e}, "%s reported %s as of zxid 0x%x at %v, after 0x%x at %v",
					e.Who(), e.Object, e.Zxid, e.Time, before.Zxid, before.Time)
			}
		}
		j.NotExercised("no watcher reported two states")
	})
}

// The function `successive` yields each state that a watcher reported, together with the state that
// the same watcher reported before it.
func successive(h *history.History) func(func(before, e *history.Event) bool) {
	return func(yield func(before, e *history.Event) bool) {
		last := make(map[registration]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Watch || e.Op != WatchState {
				continue
			}
			before := last[registrationOf(e)]
			last[registrationOf(e)] = e
			if before != nil && !yield(before, e) {
				return
			}
		}
	}
}

// WatchOneEventEach judges events. It requires that a registration fires at most once, and only
// after the watch was registered.
func WatchOneEventEach() Checker {
	return New("watch/one-event-each", "a registration fires at most once", func(h *history.History, j *Judge) {
		over := make(map[registration]*history.Event)
		made := make(map[registration]bool)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Watch {
				continue
			}
			at := registrationOf(e)
			switch e.Op {
			case WatchSet:
				made[at] = true
			case WatchFired:
				j.Checked(1)
				if first := over[at]; first != nil {
					j.Violation([]history.Event{*first, *e}, "watch %d of %s on %s fired at %v, but it had already %s at %v", e.Watch, e.Who(), e.Object, e.Time, first.Op, first.Time)
				} else if !made[at] {
					j.Violation([]history.Event{*e}, "watch %d of %s on %s fired at %v, but was never set", e.Watch, e.Who(), e.Object, e.Time)
				}
				over[at] = e
			case WatchEnded:
				over[at] = e
			}
		}
		j.NotExercised("no watch fired")
	})
}

// WatchFinalStateReported judges the end of the history. It requires that the last state that each
// watcher reported is the final state. A watcher that has ended is not judged.
func WatchFinalStateReported() Checker {
	return New("watch/final-state-reported", "a watcher ends with the final state", func(h *history.History, j *Judge) {
		last := make(map[registration]*history.Event)
		final := make(map[string]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			switch {
			case e.Kind == history.Watch && e.Op == WatchState:
				last[registrationOf(e)] = e
			case e.Kind == history.Watch && e.Op == WatchEnded:
				delete(last, registrationOf(e))
			case e.Kind == history.Fact && e.Op == FactFinal:
				final[e.Object] = e
			}
		}
		given := make([]*history.Event, 0, len(last))
		for _, e := range last {
			given = append(given, e)
		}
		slices.SortFunc(given, func(a, b *history.Event) int { return cmp.Compare(a.Index, b.Index) })
		for _, e := range given {
			truth := final[e.Object]
			if truth == nil || !h.Complete() { // in an incomplete history, the watcher may report more later
				continue
			}
			j.Checked(1)
			gone := truth.Token == 0 && e.Token == 0 // a deleted znode has no version to compare
			if !gone && (e.Zxid != truth.Zxid || e.Token != truth.Token) {
				j.Violation([]history.Event{*e, *truth}, "%s last reported %s as of zxid 0x%x, at %v, but the final state is of 0x%x",
					e.Who(), e.Object, e.Zxid, e.Time, truth.Zxid)
			}
		}
		j.NotExercised("no watcher lived until the end, or no client read the final state")
	})
}

// WatchNoEventWithoutCause judges events. It requires that each event has a cause: a change of the
// watched znode that is newer than the version that was read when the watch was set. An event
// without a known cause is not judged in two cases:
//   - An indeterminate change may have caused the event.
//   - A fault outside the envelope affected all clients while the watch was registered.
func WatchNoEventWithoutCause(envelope Envelope) Checker {
	return New("watch/no-event-without-cause", "every event has a cause", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		ops, _ := h.Operations()
		first := make(map[string]int32) // object -> the first change whose zxid is not known
		zxids := make(map[string][]history.Operation)
		for _, o := range ops {
			if !alters(o.Invoke.Op) {
				continue
			}
			object := o.Invoke.Object
			switch o.Outcome() {
			case session.OK:
				zxids[object] = append(zxids[object], o)
			case session.Indeterminate:
				if at, known := first[object]; !known || o.Invoke.Index < at {
					first[object] = o.Invoke.Index
				}
			}
		}
		// The map `earliest` has a list for each object, with an entry for each change in order of
		// zxid. The entry is the index of the earliest invocation of this change and of all changes
		// with a higher zxid. The list ends with an additional entry, `forever`.
		earliest := make(map[string][]int32)
		for object, list := range zxids {
			slices.SortFunc(list, func(a, b history.Operation) int { return cmp.Compare(a.Complete.Zxid, b.Complete.Zxid) })
			from := make([]int32, len(list)+1)
			from[len(list)] = forever
			for i := len(list) - 1; i >= 0; i-- {
				from[i] = min(from[i+1], list[i].Invoke.Index)
			}
			earliest[object] = from
		}
		set := make(map[registration]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Watch {
				continue
			}
			if e.Op == WatchSet {
				set[registrationOf(e)] = e
			}
			made := set[registrationOf(e)]
			if e.Op != WatchFired || made == nil {
				continue
			}
			at, _ := slices.BinarySearchFunc(zxids[e.Object], made.Zxid+1, func(o history.Operation, z int64) int { return cmp.Compare(o.Complete.Zxid, z) })
			caused := len(earliest[e.Object]) > 0 && earliest[e.Object][at] < e.Index
			if maybe, known := first[e.Object]; !caused && (known && maybe < e.Index || outside.meets(made.Time, e.Time)) {
				continue
			}
			if j.Checked(1); !caused {
				j.Violation([]history.Event{*made, *e}, "the watch of %s on %s as of zxid 0x%x fired with %s at %v, but nothing had changed",
					e.Who(), e.Object, made.Zxid, e.Arg, e.Time)
			}
		}
		j.NotExercised("no watch fired that only a known change can have caused")
	})
}

// WatchRecreationReported judges the changes between two states. It considers each znode that was
// deleted and created again between two states of a watcher. It requires that the second state says
// so, even if the watcher had no connection meanwhile.
func WatchRecreationReported() Checker {
	return New("watch/recreation-reported", "a watcher reports that a znode was deleted and created again", func(h *history.History, j *Judge) {
		for before, e := range successive(h) {
			if before.Token == 0 || e.Token == 0 || before.Token == e.Token {
				continue
			}
			j.Checked(1)
			if e.Arg != "recreated" {
				j.Violation([]history.Event{*before, *e}, "%s reported %s as %q at %v, but this znode was created by 0x%x and the previous one by 0x%x",
					e.Who(), e.Object, e.Arg, e.Time, e.Token, before.Token)
			}
		}
		j.NotExercised("nothing was deleted and recreated between two states")
	})
}

// WatchOneEndEach judges the end of a session. It requires that each registration that has not
// fired ends once, and has no event after its end.
func WatchOneEndEach() Checker {
	return New("watch/one-end-each", "the end of a session ends each of its watches once", func(h *history.History, j *Judge) {
		open := make(map[registration]*history.Event)
		ended := make(map[registration]*history.Event)
		bySession := make(map[int64]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind == history.Session && (e.Op == history.SessionLost || e.Op == history.SessionClosed) {
				bySession[e.Session] = e
			}
			if e.Kind != history.Watch {
				continue
			}
			at := registrationOf(e)
			if over := ended[at]; over != nil && e.Op != WatchSet {
				j.Violation([]history.Event{*over, *e}, "watch %d of %s on %s ended at %v, but then %s at %v", e.Watch, e.Who(), e.Object, over.Time, e.Op, e.Time)
			}
			switch e.Op {
			case WatchSet:
				open[at] = e
			case WatchFired:
				delete(open, at)
			case WatchEnded:
				j.Checked(1)
				delete(open, at)
				ended[at] = e
			}
		}
		left := make([]*history.Event, 0, len(open))
		for _, e := range open {
			left = append(left, e)
		}
		slices.SortFunc(left, func(a, b *history.Event) int { return cmp.Compare(a.Index, b.Index) })
		for _, e := range left {
			if over := bySession[e.Session]; over != nil && h.Complete() {
				j.Violation([]history.Event{*e, *over}, "watch %d of %s on %s never ended, although its session 0x%x was over at %v",
					e.Watch, e.Who(), e.Object, uint64(e.Session), over.Time)
			}
		}
		j.NotExercised("no watch ended")
	})
}
