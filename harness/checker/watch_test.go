package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zkcoord/zkcoord/harness/history"
)

// watchedNode is a znode and what clients know of it.
type watchedNode struct {
	path         string
	mzxid, czxid int64 // czxid 0 is no node
	set          int32 // the watch that stands; 0 is none
	told, toldOf int64 // czxid and mzxid that the watcher was told last
}

// watchHistory is a long legal history of three znodes: client 0 changes them,
// client 1 reads them and sets watches in one session after another, and client 2
// is a watcher that is told some of the states.
func watchHistory(r *rand.Rand, n int) []history.Event {
	var events []history.Event
	zxid, round, session := int64(0), int32(0), int64(1)
	nodes := make([]*watchedNode, 3)
	event := func(c int16, object string, e history.Event) {
		e.Client, e.Process, e.Object = c, int32(c), object
		if c == 1 {
			e.Session = session
		}
		events = append(events, e)
	}
	tell := func(x *watchedNode, kind string) {
		x.told, x.toldOf = x.czxid, x.mzxid
		event(2, x.path, history.Event{Kind: history.Watch, Op: WatchState, Arg: kind, Round: 1, Zxid: x.mzxid, Token: x.czxid})
	}
	for i := range nodes {
		nodes[i] = &watchedNode{path: fmt.Sprintf("/n%d", i)}
		tell(nodes[i], "initial")
	}
	change := func(x *watchedNode) {
		op := OpCreate
		if x.czxid != 0 {
			op = [3]string{OpDelete, OpSetValue, OpRecreate}[r.IntN(3)]
		}
		event(0, x.path, history.Event{Kind: history.Invoke, Op: op})
		zxid++
		if x.mzxid = zxid; op != OpSetValue {
			x.czxid = zxid
		}
		if op == OpDelete {
			x.czxid = 0
		}
		if x.set != 0 {
			event(1, x.path, history.Event{Kind: history.Watch, Op: WatchFired, Round: x.set})
			x.set = 0
		}
		event(0, x.path, history.Event{Kind: history.OK, Op: op, Zxid: zxid})
		if r.IntN(3) > 0 || x.czxid == 0 { // a deletion is always told, so that kinds are as here
			kind := "changed"
			switch {
			case x.czxid == 0:
				kind = "deleted"
			case x.told == 0:
				kind = "created"
			case x.told != x.czxid:
				kind = "recreated"
			}
			tell(x, kind)
		}
	}
	for range n {
		switch x := nodes[r.IntN(3)]; r.IntN(4) {
		case 0:
			change(x)
		case 1:
			event(1, x.path, history.Event{Kind: history.Invoke, Op: OpRead})
			event(1, x.path, history.Event{Kind: history.OK, Op: OpRead, Zxid: x.mzxid})
		case 2:
			if x.set == 0 {
				round++
				x.set = round
				event(1, x.path, history.Event{Kind: history.Watch, Op: WatchSet, Round: round, Zxid: x.mzxid})
			}
		case 3:
			if r.IntN(10) > 0 {
				continue
			}
			event(1, "", history.Event{Kind: history.Session, Op: history.SessionLost})
			for _, x := range nodes {
				if x.set != 0 {
					event(1, x.path, history.Event{Kind: history.Watch, Op: WatchEnded, Round: x.set, Error: "lost"})
					x.set = 0
				}
			}
			session++
		}
	}
	for _, x := range nodes {
		for x.czxid == 0 || x.toldOf != x.mzxid { // there in the end, and told of
			change(x)
		}
		event(0, x.path, history.Event{Kind: history.Fact, Op: FactFinal, Zxid: x.mzxid, Token: x.czxid})
	}
	return events
}

// A long legal history is valid, and one edit that breaks one property makes that
// property invalid.
func TestOneEditOfALegalWatchHistoryIsFlagged(t *testing.T) {
	edits := map[string]func(r *rand.Rand, events []history.Event) []history.Event{
		"W1": func(r *rand.Rand, events []history.Event) []history.Event {
			// The new data is read just before the event.
			i := pick(r, events, is(history.Watch, WatchFired))
			read := events[i]
			read.Kind, read.Op, read.Zxid = history.OK, OpRead, 1<<40
			invoked := read
			invoked.Kind = history.Invoke
			return slices.Insert(events, i, invoked, read)
		},
		"W2": func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, func(e *history.Event) bool { return e.Op == WatchState && e.Arg != "initial" })
			return slices.Insert(events, i+1, events[i])
		},
		"W3": func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchFired))
			return slices.Insert(events, i+1, events[i])
		},
		"W4": func(r *rand.Rand, events []history.Event) []history.Event {
			final := events[pick(r, events, is(history.Fact, FactFinal))]
			return slices.DeleteFunc(events, func(e history.Event) bool {
				return e.Op == WatchState && e.Object == final.Object && e.Zxid == final.Zxid
			})
		},
		"W5": func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchSet))
			fired := events[i]
			fired.Op = WatchFired
			return slices.Insert(events, i+1, fired)
		},
		"W6": func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, func(e *history.Event) bool { return e.Arg == "recreated" })
			events[i].Arg = "changed"
			return events
		},
		"W7": func(r *rand.Rand, events []history.Event) []history.Event {
			i := pick(r, events, is(history.Watch, WatchEnded))
			return slices.Delete(events, i, i+1)
		},
	}
	if len(edits) != len(Watches()) {
		t.Fatalf("%d edits for %d checkers", len(edits), len(Watches()))
	}
	for _, c := range Watches() {
		id := c.Properties()[0].ID
		r := rand.New(rand.NewPCG(7, 9))
		for range 200 {
			events := watchHistory(r, 400)
			legal := history.New(append(slices.Clone(events), end())...)
			if v := Run(t.Context(), legal, c)[0]; v.Verdict != Valid {
				t.Fatalf("%s: a legal history is %v: %s", id, v.Verdict, v.Reason)
			}
			broken := history.New(append(edits[id](r, events), end())...)
			if v := Run(t.Context(), broken, c)[0]; v.Verdict != Invalid {
				t.Fatalf("%s: a broken history is %v: %s", id, v.Verdict, v.Reason)
			}
		}
	}
}
