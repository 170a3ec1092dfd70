package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
)

// Modes of a hold of a read-write lock, in Arg of its events.
const (
	ModeRead  = "read"
	ModeWrite = "write"
)

// RWLock returns the checkers of a read-write lock beside those of tokens, fence
// and leftovers, which are a mutex's: RW1, RW2 and RW3.
func RWLock(envelope Envelope) []Checker {
	return []Checker{RW1(envelope), RW2(), RW3(envelope)}
}

// RW1 judges definite holds: a writer holds alone, inside the envelope.
func RW1(envelope Envelope) Checker {
	return New("RW1", "no writer holds with a writer or a reader", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		one := func(history.HoldInterval) int { return 1 }
		for object, list := range sorted(changes(h, one)) {
			writers := make(map[int32]history.HoldInterval) // by begin
			holders := make(map[int32]history.HoldInterval)
			for i, c := range list {
				id, writes := c.hold.Begin.Index, c.hold.Begin.Arg == ModeWrite
				if c.by < 0 {
					delete(holders, id)
					delete(writers, id)
					continue
				}
				j.Saw(1)
				var other *history.HoldInterval
				if writes {
					other = firstOf(holders)
				} else {
					other = firstOf(writers)
				}
				holders[id] = c.hold
				if writes {
					writers[id] = c.hold
				}
				switch {
				case other == nil:
				case c.hold.Begin.Time == endTime(h, *other) && other.Lost(): // told at that very instant
				case outside.covers(c.hold.Begin.Time, c.hold.Begin.Client, other.Begin.Client):
					j.Exposed(untilNext(h, list, i))
				default:
					j.Violation(inOrder(other.Events(), c.hold.Events()), "%s held %s to %s from %v on while %s held it to %s",
						c.hold.Begin.Who(), object, c.hold.Begin.Arg, c.hold.Begin.Time, other.Begin.Who(), other.Begin.Arg)
				}
			}
		}
		j.Idle("nothing was ever held")
	})
}

// firstOf returns the hold with the earliest begin. Sets of concurrent holds are
// as small as the number of clients.
func firstOf(holds map[int32]history.HoldInterval) *history.HoldInterval {
	for _, hold := range sorted(holds) {
		return &hold
	}
	return nil
}

// RW2 asks that two readers held at once: a lock that lets in one at a time would
// be safe, and no read-write lock.
func RW2() Checker {
	return AtLeast("RW2", 1, "two readers at once", func(h *history.History) int {
		found := 0
		readers := make(map[string]int)
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Hold || e.Arg != ModeRead {
				continue
			}
			if e.Op != history.HoldBegin {
				readers[e.Object]--
			} else if readers[e.Object]++; readers[e.Object] > 1 {
				found++
			}
		}
		return found
	})
}

// RW3 judges the order of grants by their tokens, inside the envelope: no reader
// passes an earlier writer, and no writer passes anybody.
func RW3(envelope Envelope) Checker {
	return New("RW3", "no reader passes an earlier writer, no writer passes anybody", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		type line struct{ highest, highestWriter *history.Event }
		lines := make(map[string]*line)
		for _, hold := range h.Holds() {
			e := hold.Begin
			l := lines[e.Object]
			if l == nil {
				l = &line{}
				lines[e.Object] = l
			}
			j.Saw(1)
			passed := l.highestWriter
			if e.Arg == ModeWrite {
				passed = l.highest
			}
			if passed != nil && passed.Token > e.Token && !outside.covers(e.Time, e.Client, passed.Client) && !outside.covers(passed.Time, e.Client, passed.Client) {
				j.Violation([]history.Event{*passed, *e}, "%s was granted %s to %s at %v with token 0x%x, before %s, who wants to %s and came earlier with 0x%x",
					passed.Who(), e.Object, passed.Arg, passed.Time, passed.Token, e.Who(), e.Arg, e.Token)
			}
			l.highest = higher(l.highest, e)
			if e.Arg == ModeWrite {
				l.highestWriter = higher(l.highestWriter, e)
			}
		}
		j.Idle("nothing was ever held")
	})
}

func higher(a, b *history.Event) *history.Event {
	if a == nil || b.Token > a.Token {
		return b
	}
	return a
}
