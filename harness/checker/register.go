package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations on a znode used as a register or as a counter. Zxid of a completion is the zxid of the
// write, or the mzxid of the znode that was read.
const (
	OpSetValue = "write" // writes Arg; each value is written only once
	// OpRead completes with Result. Arg of its invocation is "sync" if the read came after a sync.
	OpRead = "read"
	OpAdd  = "add" // adds Arg, or one if it is empty, to a counter; completes with the new value in Result
)

// Register returns the checkers of a znode used as a register: register/writes-linearizable,
// register/reads-after-sync and register/reads-sequential.
func Register() []Checker {
	return []Checker{registerWritesLinearizable(), registerReadsAfterSync(), registerReadsSequential()}
}

func mutates(op string) bool { return op == OpSetValue || op == OpAdd }

// registerWritesLinearizable judges writes. It requires that the zxid of each write is unique, and
// higher than every zxid of the same znode that a client received before the write began. A history
// that also has the properties register/reads-after-sync and register/reads-sequential is
// linearizable. The zxids already give the order of the operations, so the checker need not search
// for an order.
func registerWritesLinearizable() Checker {
	return New("register/writes-linearizable", "writes are linearizable: their zxids rise in real time", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		completed := okByEnd(h, ops, func(op string) bool { return mutates(op) || op == OpRead })
		floor := make(map[int32]*history.Event)
		highest := make(map[string]*history.Event)
		seen := make(map[int64]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind == history.Invoke && mutates(e.Op) {
				floor[e.Index] = highest[e.Object]
			}
			o, ok := completed(e.Index)
			if !ok {
				continue
			}
			highest[e.Object] = newer(highest[e.Object], e)
			if o.Invoke.Op == OpRead {
				continue
			}
			j.Checked(1)
			if twin := seen[e.Zxid]; twin != nil {
				j.Violation([]history.Event{*twin, *e}, "two writes have the zxid 0x%x: of %s at %v and of %s at %v",
					e.Zxid, twin.Who(), twin.Time, e.Who(), e.Time)
			}
			before := floor[o.Invoke.Index]
			delete(floor, o.Invoke.Index)
			if before != nil && before.Zxid > e.Zxid {
				j.Violation(inOrder([]history.Event{*before}, o.Events()), "%s wrote %s at %v with zxid 0x%x, but %s had seen the higher zxid 0x%x at %v",
					e.Who(), e.Object, e.Time, e.Zxid, before.Who(), before.Zxid, before.Time)
			}
			seen[e.Zxid] = e
		}
		j.NotExercised("nothing was written")
	})
}

// okByEnd returns a function that finds a successful operation by the index of its completion. The
// function `wanted` gets the name of an operation, and reports whether to find the operation.
func okByEnd(h *history.History, ops []history.Operation, wanted func(op string) bool) func(index int32) (history.Operation, bool) {
	at := make([]int32, len(h.Events)) // index of a completion -> position of its operation in ops, counted from 1
	for i, o := range ops {
		if wanted(o.Invoke.Op) && o.Outcome() == session.OK {
			at[o.Complete.Index] = int32(i + 1)
		}
	}
	return func(index int32) (history.Operation, bool) {
		if at[index] == 0 {
			return history.Operation{}, false
		}
		return ops[at[index]-1], true
	}
}

func newer(a, b *history.Event) *history.Event {
	if a == nil || b.Zxid > a.Zxid {
		return b
	}
	return a
}

// registerReadsAfterSync judges the reads that follow a sync. It compares each such read with the
// writes, and with the other such reads, that had succeeded before the read began. It requires that
// the zxid of the read is not lower than the zxid of any of these operations.
func registerReadsAfterSync() Checker {
	return New("register/reads-after-sync", "a read after a sync sees every write that completed before it", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		completed := okByEnd(h, ops, func(op string) bool { return mutates(op) || op == OpRead })
		floor := make(map[int32]*history.Event)
		newest := make(map[string]*history.Event)
		for i := range h.Events {
			e := &h.Events[i]
			synced := e.Op == OpRead && e.Arg == "sync"
			if e.Kind == history.Invoke && synced {
				floor[e.Index] = newest[e.Object]
			}
			o, ok := completed(e.Index)
			if !ok || o.Invoke.Op == OpRead && o.Invoke.Arg != "sync" {
				continue
			}
			if o.Invoke.Op == OpRead {
				j.Checked(1)
				if least := floor[o.Invoke.Index]; least != nil && least.Zxid > e.Zxid {
					j.Violation(inOrder([]history.Event{*least}, o.Events()), "%s read %s after a sync at %v as of zxid 0x%x, but %s had seen 0x%x before, at %v",
						e.Who(), e.Object, e.Time, e.Zxid, least.Who(), least.Zxid, least.Time)
				}
			}
			newest[e.Object] = newer(newest[e.Object], e)
		}
		j.NotExercised("nothing was read after a sync")
	})
}

// registerReadsSequential judges all reads. It requires:
//   - A value that is not empty comes from a write that had begun.
//   - If the write with the zxid of the read is known, the read returns the value of that write.
//   - A session never goes back to an older zxid.
func registerReadsSequential() Checker {
	return New("register/reads-sequential", "reads are sequentially consistent and return only values that were written", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		byZxid := make(map[int64]history.Operation)
		byValue := make(map[[2]string]*history.Event)
		for _, o := range ops {
			if o.Invoke.Op == OpSetValue && o.Outcome() != session.Failed {
				byValue[[2]string{o.Invoke.Object, o.Invoke.Arg}] = o.Invoke
			}
			if o.Invoke.Op == OpSetValue && o.Outcome() == session.OK {
				byZxid[o.Complete.Zxid] = o
			}
		}
		type view struct {
			session int64
			object  string
		}
		last := make(map[view]*history.Event)
		floor := make(map[int32]*history.Event) // invocation -> the newest state that its session had seen
		completed := okByEnd(h, ops, func(op string) bool { return op == OpSetValue || op == OpRead })
		for i := range h.Events {
			e := &h.Events[i]
			at := view{e.Session, e.Object}
			if e.Kind == history.Invoke {
				floor[e.Index] = last[at]
			}
			o, ok := completed(e.Index)
			if !ok {
				continue
			}
			if before := floor[o.Invoke.Index]; e.Session != 0 && before != nil && before.Zxid > e.Zxid {
				j.Violation(inOrder([]history.Event{*before}, o.Events()), "session 0x%x saw %s as of zxid 0x%x at %v and as of the lower 0x%x at %v",
					uint64(e.Session), e.Object, before.Zxid, before.Time, e.Zxid, e.Time)
			}
			last[at] = newer(last[at], e)
			if o.Invoke.Op != OpRead {
				continue
			}
			j.Checked(1)
			write, known := byZxid[e.Zxid]
			begun := byValue[[2]string{e.Object, e.Result}]
			switch {
			case known && write.Invoke.Arg != e.Result:
				j.Violation(inOrder(write.Events(), o.Events()), "%s read %q from %s at %v as of zxid 0x%x, but that write wrote %q",
					e.Who(), e.Result, e.Object, e.Time, e.Zxid, write.Invoke.Arg)
			case e.Result != "" && (begun == nil || begun.Index > e.Index):
				j.Violation(o.Events(), "%s read %q from %s at %v, but no client had written it", e.Who(), e.Result, e.Object, e.Time)
			}
		}
		j.NotExercised("nothing was read")
	})
}
