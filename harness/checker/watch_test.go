package checker

import (
	"fmt"
	"math/rand/v2"

	"github.com/zkcoord/zkcoord/harness/history"
)

// watchedNode is a znode with its watch and the state that was reported last.
type watchedNode struct {
	path         string
	mzxid, czxid int64 // a czxid of 0 means that the node does not exist
	set          int32 // the active watch; 0 means none
	told, toldOf int64 // czxid and mzxid that the watcher was notified of last
}

// watchHistory returns a long legal history of three znodes. Client 0 changes them. Client 1 reads
// them and sets watches in one session after another. Client 2 is a watcher that is notified of
// some of the states.
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
		event(2, x.path, history.Event{Kind: history.Watch, Op: WatchState, Arg: kind, Watch: 1, Zxid: x.mzxid, Token: x.czxid})
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
			event(1, x.path, history.Event{Kind: history.Watch, Op: WatchFired, Watch: x.set})
			x.set = 0
		}
		event(0, x.path, history.Event{Kind: history.OK, Op: op, Zxid: zxid})
		if r.IntN(3) > 0 || x.czxid == 0 { // a deletion is always reported, so that the kinds of states match
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
				event(1, x.path, history.Event{Kind: history.Watch, Op: WatchSet, Watch: round, Zxid: x.mzxid})
			}
		case 3:
			if r.IntN(10) > 0 {
				continue
			}
			event(1, "", history.Event{Kind: history.Session, Op: history.SessionLost})
			for _, x := range nodes {
				if x.set != 0 {
					event(1, x.path, history.Event{Kind: history.Watch, Op: WatchEnded, Watch: x.set, Error: "lost"})
					x.set = 0
				}
			}
			session++
		}
	}
	for _, x := range nodes {
		for x.czxid == 0 || x.toldOf != x.mzxid { // each node exists at the end, and its last state was reported
			change(x)
		}
		event(0, x.path, history.Event{Kind: history.Fact, Op: FactFinal, Zxid: x.mzxid, Token: x.czxid})
	}
	return events
}
