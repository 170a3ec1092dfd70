package checker

import (
	"github.com/zkcoord/zkcoord/harness/history"
)

// FactPermits is a fact about a semaphore. Its Result is the number of permits that could be
// acquired together at the end of the run.
const FactPermits = "permits"

// Semaphore returns the checkers of a semaphore with the given number of permits:
// semaphore/within-permits and semaphore/no-permit-lost. In the events of a hold, Arg is the number
// of permits that the client holds. An empty Arg means 1.
func Semaphore(permits int, envelope Envelope) []Checker {
	return []Checker{semaphoreWithinPermits(permits, envelope), semaphoreNoPermitLost(permits)}
}

// semaphoreWithinPermits judges holds. It requires that, inside the envelope, clients never hold
// more permits than exist.
func semaphoreWithinPermits(permits int, envelope Envelope) Checker {
	return New("semaphore/within-permits", "no more permits are held than exist", func(h *history.History, j *Judge) {
		outside := envelope.outside(h)
		for hold, others := range begins(h) {
			j.Checked(1)
			at, mine := hold.Begin, permitsOf(hold)
			held, inside := mine, 0 // permits of all holds; permits of other holds without excuse
			own := mine             // the permits of this hold; zero if this hold is excused
			first := endTime(h, hold)
			for _, other := range others {
				n := permitsOf(other)
				held += n
				switch before, next := inTurn(other, hold); {
				case !outside.excuses(before, next.Begin.Time):
					inside += n
				case before.Begin == at:
					inside += n
					own = 0
				}
				first = min(first, endTime(h, other))
			}
			switch {
			case held <= permits:
			case inside+own <= permits:
				j.Exposed(first - at.Time)
			default:
				proof := []history.Event{*at}
				for _, other := range others {
					proof = append(proof, *other.Begin)
				}
				j.Violation(inOrder(proof), "%d permits of %s were held for %v from %v on, when %s was granted %d, but only %d exist",
					held, at.Object, first-at.Time, at.Time, at.Who(), mine, permits)
			}
		}
		j.NotExercised("nothing was held")
	})
}

func permitsOf(hold history.HoldInterval) int { return number(hold.Begin.Arg, 1) }

// semaphoreNoPermitLost requires that all permits can be acquired together at the end of the run.
func semaphoreNoPermitLost(permits int) Checker {
	return New("semaphore/no-permit-lost", "after the run all permits can be acquired at once", func(h *history.History, j *Judge) {
		for i := range h.Events {
			e := &h.Events[i]
			if e.Kind != history.Fact || e.Op != FactPermits {
				continue
			}
			j.Checked(1)
			if n := number(e.Result, -1); n != permits {
				j.Violation([]history.Event{*e}, "at the end %s permits of %s could be acquired at once, but %d exist", e.Result, e.Object, permits)
			}
		}
		j.NotExercised("no client tried to acquire all permits at the end")
	})
}
