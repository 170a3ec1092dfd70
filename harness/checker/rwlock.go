package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
)

// Modes of a hold of a read-write lock. The mode is in the field Arg of each event of the hold.
const (
	ModeRead  = "read"
	ModeWrite = "write"
)

// RWLock returns the checkers of a read-write lock: rwlock/writer-alone, rwlock/readers-together
// and rwlock/no-overtaking. A read-write lock must also pass the checkers of [Mutex] for tokens,
// fence and leftovers.
func RWLock(envelope Envelope) []Checker {
	return []Checker{rwLockWriterAlone(envelope), rwLockReadersTogether(), rwLockNoOvertaking(envelope)}
}

// rwLockWriterAlone judges holds. It requires that, inside the envelope, no other client holds the
// lock while a writer holds it.
func rwLockWriterAlone(envelope Envelope) Checker {
	return New("rwlock/writer-alone", "no writer holds together with a writer or a reader", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		for hold, others := range begins(h) {
			j.Checked(1)
			if hold.Begin.Arg != ModeWrite {
				others = writers(others)
			}
			if other := outside.unexcused(hold, others); other != nil {
				j.Violation(inOrder(other.Events(), hold.Events()), "%s held %s to %s from %v on while %s held it to %s, for %v",
					hold.Begin.Who(), hold.Begin.Object, hold.Begin.Arg, hold.Begin.Time, other.Begin.Who(), other.Begin.Arg, overlap(h, hold, *other))
			} else if len(others) > 0 {
				j.Exposed(overlap(h, hold, others...))
			}
		}
		j.NotExercised("nothing was held")
	})
}

func writers(holds []history.HoldInterval) (all []history.HoldInterval) {
	for _, hold := range holds {
		if hold.Begin.Arg == ModeWrite {
			all = append(all, hold)
		}
	}
	return all
}

// rwLockReadersTogether requires that at least two readers held the lock at the same time. If this
// never happened, the lock may be a plain mutex.
func rwLockReadersTogether() Checker {
	return AtLeast("rwlock/readers-together", 1, "grants to a reader while another reader held the lock", func(h *history.History) int {
		found := 0
		for hold, others := range begins(h) {
			if hold.Begin.Arg == ModeRead && len(writers(others)) < len(others) {
				found++
			}
		}
		return found
	})
}

// rwLockNoOvertaking judges the order of grants by their tokens. It requires that, inside the
// envelope, no reader overtakes an earlier writer, and no writer overtakes any client.
func rwLockNoOvertaking(envelope Envelope) Checker {
	return New("rwlock/no-overtaking", "no reader overtakes an earlier writer, and no writer overtakes anybody", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		type line struct{ all, writers inLine }
		lines := make(map[string]*line)
		for _, hold := range h.Holds() {
			e := hold.Begin
			l := lines[e.Object]
			if l == nil {
				l = new(line)
				lines[e.Object] = l
			}
			j.Checked(1)
			ahead := l.writers
			if e.Arg == ModeWrite {
				ahead = l.all
			}
			// A downgraded writer keeps its token, so only a larger token counts as overtaking.
			if passed := ahead.passed(e.Token + 1); passed != nil && outside.excuses(hold, passed.Time) {
				j.Exposed(e.Time - passed.Time)
			} else if passed != nil {
				j.Violation([]history.Event{*passed, *e}, "%s was granted %s to %s at %v with token 0x%x, before %s, which wants to %s and came earlier with 0x%x",
					passed.Who(), e.Object, passed.Arg, passed.Time, passed.Token, e.Who(), e.Arg, e.Token)
			}
			l.all.add(e)
			if e.Arg == ModeWrite {
				l.writers.add(e)
			}
		}
		j.NotExercised("nothing was held")
	})
}
