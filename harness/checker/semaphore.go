package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
)

// FactPermits tells how many permits of Object could be had at once at the end of
// the run: Result.
const FactPermits = "permits"

// Semaphore returns the checkers of a semaphore of that many permits: P1 and P2.
// Arg of a hold's events is its number of permits, none is 1.
func Semaphore(permits int, envelope Envelope) []Checker {
	return []Checker{P1(permits, envelope), P2(permits)}
}

// P1 judges definite holds: their permits never sum up to more than there are,
// inside the envelope.
func P1(permits int, envelope Envelope) Checker {
	return New("P1", "no more permits are held than there are", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		weight := func(hold history.HoldInterval) int { return number(hold.Begin.Arg, 1) }
		for object, list := range sorted(changes(h, weight)) {
			held := 0
			standing := make(map[int32]history.HoldInterval)
			for i, c := range list {
				held += c.by
				if c.by < 0 {
					delete(standing, c.hold.Begin.Index)
					continue
				}
				j.Saw(1)
				standing[c.hold.Begin.Index] = c.hold
				if held <= permits || untilNext(h, list, i) == 0 {
					continue // no time passed: the next in the list may have ended before
				}
				var holders []int16
				for _, hold := range standing {
					holders = append(holders, hold.Begin.Client)
				}
				if outside.covers(c.hold.Begin.Time, holders...) {
					j.Exposed(untilNext(h, list, i))
					continue
				}
				var proof []history.Event
				for _, hold := range standing {
					proof = append(proof, *hold.Begin)
				}
				j.Violation(inOrder(proof), "%d permits of %s were held at %v, when %s was granted %d: there are %d",
					held, object, c.hold.Begin.Time, c.hold.Begin.Who(), c.by, permits)
			}
		}
		j.Idle("nothing was ever held")
	})
}

// P2 judges conservation: at the end all permits can be had at once.
func P2(permits int) Checker {
	return New("P2", "at the end all permits can be had at once", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Fact || e.Op != FactPermits {
				continue
			}
			j.Saw(1)
			if n := number(e.Result, -1); n != permits {
				j.Violation([]history.Event{*e}, "at the end %s permits of %s could be had at once, and there are %d", e.Result, e.Object, permits)
			}
		}
		j.Idle("nobody tried to have all permits at the end")
	})
}
