package checker

import (
	"cmp"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Operations of elections. A term is a hold, and its Token is its epoch.
const (
	// OpCampaign completes with the epoch in Token.
	OpCampaign = "campaign"
	// OpProclaim is a write of Arg by a leader. Each value is written only once. Token of the
	// invocation is the epoch of the leader.
	OpProclaim = "proclaim"
	// OpInherit is a read by a new leader. It returns the last value that was proclaimed. Token of
	// the invocation is the epoch of the new leader. Result is empty if no value was proclaimed.
	OpInherit = "inherit"
	// OpLeader reads who leads. It completes with the epoch in Token, or zero if there is no
	// leader. If Arg of the invocation is Present, the answer must not be older than the
	// invocation. If Arg is Settled, the client is an observer, and the completion has two epochs
	// to compare. Token is the epoch of the observer's last notification. Result is the epoch that
	// the observer reads now.
	OpLeader = "leader"

	Present = "sync"
	Settled = "settled"
)

// Election returns the checkers of an election that every run can exercise: election/epochs-rise,
// election/one-leader-an-epoch, election/no-overlap, election/fenced-writes,
// election/loss-before-reelection, election/leader-after-heal and election/no-epoch-twice.
func Election(envelope Envelope, inTime time.Duration) []Checker {
	return []Checker{ElectionEpochsRise(), ElectionOneLeaderAnEpoch(), ElectionNoOverlap(envelope), ElectionFencedWrites(), ElectionLossBeforeReelection(), electionLeaderAfterHeal(inTime), electionNoEpochTwice()}
}

// ElectionEpochsRise judges epochs. It requires that the epochs are unique and rise in real time.
func ElectionEpochsRise() Checker {
	return New("election/epochs-rise", "epochs are unique and rise in real time", func(h *history.History, j *Judge) { tokens(h, j, OpCampaign) })
}

// ElectionOneLeaderAnEpoch judges terms. It requires that no epoch has two leaders.
func ElectionOneLeaderAnEpoch() Checker {
	return New("election/one-leader-an-epoch", "no epoch has two leaders", func(h *history.History, j *Judge) {
		sameEpoch(h, j, func(*history.Event) int16 { return history.Nobody }, func(a, b *history.Event) bool { return a.Client != b.Client })
	})
}

// electionNoEpochTwice judges terms. It requires that no client leads the same epoch twice.
func electionNoEpochTwice() Checker {
	return New("election/no-epoch-twice", "no client leads the same epoch twice", func(h *history.History, j *Judge) {
		sameEpoch(h, j, func(e *history.Event) int16 { return e.Client }, func(*history.Event, *history.Event) bool { return true })
	})
}

// sameEpoch compares each term with the previous term of the same election that has the same
// epoch and the same result of the function `whom`. If `whom` returns the client of a term, only
// terms of the same client are compared. If `whom` always returns Nobody, terms of different
// clients are compared too. The function `wrong` reports whether the two terms are a violation.
func sameEpoch(h *history.History, j *Judge, whom func(*history.Event) int16, wrong func(a, b *history.Event) bool) {
	type epoch struct {
		object string
		token  int64
		client int16
	}
	seen := make(map[epoch]*history.Event)
	for _, term := range h.Holds() {
		j.Checked(1)
		at := epoch{term.Begin.Object, term.Begin.Token, whom(term.Begin)}
		if first := seen[at]; first != nil && wrong(first, term.Begin) {
			j.Violation([]history.Event{*first, *term.Begin}, "%s at %v and %s at %v both led %s in epoch 0x%x",
				first.Who(), first.Time, term.Begin.Who(), term.Begin.Time, at.object, at.token)
		}
		seen[at] = term.Begin
	}
	j.NotExercised("no candidate was elected")
}

// ElectionNoOverlap judges terms. It requires that, inside the envelope, no two terms overlap.
func ElectionNoOverlap(envelope Envelope) Checker {
	return New("election/no-overlap", "no two terms overlap", func(h *history.History, j *Judge) { overlaps(h, j, envelope) })
}

// ElectionFencedWrites is LockFencedWrites for a resource that is fenced by epochs.
func ElectionFencedWrites() Checker {
	return New("election/fenced-writes", "the fenced resource never accepts a smaller epoch, and no increment is lost", fenced)
}

// ElectionHeirSeesAll judges the value that a new leader reads (see [OpInherit]). It requires:
//   - If the value is not empty, some leader had begun to write it before the read completed. A
//     write that failed does not count.
//   - The value is no older than the latest value whose write had succeeded before the read began.
//     Values are ordered by the epochs of their writes, and values of the same epoch by time. An
//     empty value is older than all others.
//
// If the latest value in the second rule has the epoch of the new leader or a later epoch, the read
// is not judged.
func ElectionHeirSeesAll() Checker {
	return New("election/heir-sees-all", "a new leader sees what the leaders of earlier epochs wrote", func(h *history.History, j *Judge) {
		ops, _ := h.Operations()
		wrote := make(map[proclaimed]*history.Operation)
		for i, o := range ops {
			if o.Invoke.Op == OpProclaim && o.Outcome() != session.Failed {
				wrote[proclaimed{o.Invoke.Object, o.Invoke.Arg}] = &ops[i]
			}
		}
		type begun struct{ op, before *history.Operation }
		open := make(map[int32]begun)               // by the index of the completion
		last := make(map[string]*history.Operation) // object -> the latest write that succeeded
		for i := range h.Events {
			e := &h.Events[i]
			if len(ops) > 0 && ops[0].Invoke == e {
				if o := &ops[0]; (e.Op == OpProclaim || e.Op == OpInherit) && o.Outcome() == session.OK {
					open[o.Complete.Index] = begun{o, last[e.Object]}
				}
				ops = ops[1:]
				continue
			}
			o, ends := open[e.Index]
			if !ends {
				continue
			}
			delete(open, e.Index)
			if e.Op == OpInherit {
				inherited(j, *o.op, o.before, wrote)
			} else if l := last[e.Object]; l == nil || earlier(*l, *o.op) {
				last[e.Object] = o.op
			}
		}
		j.NotExercised("no new leader read what earlier leaders had written")
	})
}

// A proclaimed value is a value that a leader of the election `object` wrote.
type proclaimed struct{ object, value string }

// The function `earlier` orders writes by epoch, and writes of the same epoch by time.
func earlier(a, b history.Operation) bool {
	return cmp.Or(cmp.Compare(a.Invoke.Token, b.Invoke.Token), cmp.Compare(a.Invoke.Index, b.Invoke.Index)) < 0
}

func inherited(j *Judge, read history.Operation, last *history.Operation, wrote map[proclaimed]*history.Operation) {
	epoch, found := read.Invoke.Token, read.Complete
	if last != nil && last.Invoke.Token >= epoch {
		return // a leader of this epoch or of a later one has written
	}
	j.Checked(1)
	write, known := wrote[proclaimed{found.Object, found.Result}]
	switch {
	case found.Result == "" && last == nil:
	case found.Result != "" && (!known || write.Invoke.Index > found.Index):
		j.Violation(read.Events(), "%s, the new leader of epoch 0x%x, read %q at %v, but no leader had written it",
			found.Who(), epoch, found.Result, found.Time)
	case last != nil && (found.Result == "" || earlier(*write, *last)):
		j.Violation(inOrder(last.Events(), read.Events()), "%s, the new leader of epoch 0x%x, read %q at %v, which is older than %q of epoch 0x%x",
			found.Who(), epoch, found.Result, found.Time, last.Invoke.Arg, last.Invoke.Token)
	}
}

// ElectionLossBeforeReelection judges the terms of one candidate. It requires that each term has
// ended for the candidate's program before the next term begins.
func ElectionLossBeforeReelection() Checker {
	return New("election/loss-before-reelection", "a leader's term ends before the same client is elected again", func(h *history.History, j *Judge) {
		type candidate struct {
			object string
			client int16
		}
		last := make(map[candidate]history.HoldInterval)
		for _, term := range h.Holds() {
			at := candidate{term.Begin.Object, term.Begin.Client}
			before, again := last[at]
			last[at] = term
			if !again {
				continue
			}
			j.Checked(1)
			if before.Last() > term.Begin.Index {
				j.Violation(inOrder(before.Events(), term.Events()), "%s was elected again for %s at %v, in epoch 0x%x, before its term of epoch 0x%x had ended for it",
					term.Begin.Who(), at.object, term.Begin.Time, term.Begin.Token, before.Begin.Token)
			}
		}
		j.NotExercised("no candidate was elected a second time")
	})
}

// electionLeaderAfterHeal judges liveness. It requires that, within inTime after the heal, each
// election that ever had a candidate has a leader. It also requires that, after this time and while
// clients work, no leader loses its term.
func electionLeaderAfterHeal(inTime time.Duration) Checker {
	return New("election/leader-after-heal", "after the heal a leader is elected in time, and its term lasts", func(h *history.History, j *Judge) {
		healed, quiesce := h.PhaseStart(history.PhaseHealed), h.PhaseStart(history.PhaseQuiesce)
		if healed == nil || quiesce == nil {
			j.Unknown("the ensemble did not recover")
			return
		}
		due, busy := healed.Time+inTime, busyTimes(h)
		if quiesce.Time < due {
			j.Unknown("the time without faults after the heal was shorter than the bound of %v", inTime)
			return
		}
		elected := make(map[string]time.Duration) // object -> when it first had a leader after the heal
		ops, _ := h.Operations()
		for _, o := range ops {
			if o.Invoke.Op == OpCampaign {
				elected[o.Invoke.Object] = h.End()
			}
		}
		for _, term := range h.Holds() {
			object := term.Begin.Object
			if _, known := elected[object]; !known {
				elected[object] = h.End()
			}
			if endTime(h, term) > healed.Time {
				elected[object] = min(elected[object], max(term.Begin.Time, healed.Time))
			}
			if term.End == nil || !term.Lost() || term.End.Time <= due || term.End.Index >= quiesce.Index {
				continue
			}
			if busy.cost(h, term.End.Time) {
				j.Unknown("%s lost its term of %s at %v, when this machine had been too busy to renew a lease", term.Begin.Who(), term.Begin.Object, term.End.Time)
			} else {
				j.Violation(inOrder([]history.Event{*healed}, term.Events()), "%s lost its term of %s at %v, %v after the heal, without any fault",
					term.Begin.Who(), term.Begin.Object, term.End.Time, term.End.Time-healed.Time)
			}
		}
		for object, at := range sorted(elected) {
			j.Checked(1)
			if busy.overdue(j, "the election of a leader of "+object, healed.Time, at, inTime) {
				j.Violation([]history.Event{*healed}, "%s had no leader within %v after the heal at %v", object, inTime, healed.Time)
			}
		}
		j.NotExercised("no client was a candidate")
	})
}

// ElectionObserversSeeLeaders judges observers. It requires:
//   - If an observer reads that an epoch has a leader, the campaign for this epoch began before the
//     read completed. A campaign that did not succeed may still have created a znode, and the
//     observer may have read the epoch of this znode. The history does not show this epoch. So each
//     campaign that did not succeed can explain one observed epoch that has no other campaign.
//   - An observer never goes back to a lower epoch.
//   - If Arg of the invocation is [Present], the epoch is no lower than the epoch of any term that
//     had begun before the invocation.
//   - At the end, an observer has been notified of the current epoch.
func ElectionObserversSeeLeaders() Checker {
	return New("election/observers-see-leaders", "an observer never sees a future leader, and never goes back to an earlier one", observers)
}

func observers(h *history.History, j *Judge) {
	ops, _ := h.Operations()
	type term struct {
		object string
		epoch  int64
	}
	asked := make(map[term]*history.Event) // the campaigns whose epochs are known
	nameless := make(map[int32]bool)       // invocations of campaigns whose epochs are not known
	answers := make(map[int32]history.Operation)
	for _, o := range ops {
		switch {
		case o.Invoke.Op == OpCampaign && o.Outcome() == session.OK:
			asked[term{o.Invoke.Object, o.Complete.Token}] = o.Invoke
		case o.Invoke.Op == OpCampaign:
			nameless[o.Invoke.Index] = true
		case o.Invoke.Op == OpLeader && o.Outcome() == session.OK:
			answers[o.Complete.Index] = o
		}
	}
	type observer struct {
		client  int16
		session int64
		object  string
	}
	seen := make(map[observer]*history.Event)
	begun := make(map[string]*history.Event) // object -> the highest term that has begun
	floor := make(map[int32]*history.Event)  // index of an invocation of OpLeader -> the highest term that had begun before it
	spare := make(map[string]int)            // object -> number of nameless campaigns that have begun and explain no epoch yet
	for i := range h.Events {
		e := &h.Events[i]
		switch {
		case e.Kind == history.Hold && e.Op == history.HoldBegin:
			begun[e.Object] = higher(begun[e.Object], e)
		case e.Kind == history.Invoke && e.Op == OpLeader && e.Arg == Present:
			floor[e.Index] = begun[e.Object]
		case nameless[e.Index]:
			spare[e.Object]++
		}
		o, answered := answers[e.Index]
		if answered && o.Invoke.Arg == Settled && number(e.Result, 0) != int(e.Token) {
			j.Violation(o.Events(), "%s had last been notified of epoch 0x%x, and at %v not yet of 0x%x, which led %s", e.Who(), e.Token, e.Time, number(e.Result, 0), e.Object)
		}
		if !answered || e.Token == 0 {
			continue
		}
		j.Checked(1)
		who := observer{e.Client, e.Session, e.Object}
		observed := term{e.Object, e.Token}
		if asked[observed] == nil && spare[e.Object] > 0 {
			// A campaign without success may have created its znode, so it explains one epoch.
			spare[e.Object]--
			asked[observed] = &history.Event{Index: -1}
		}
		campaign, last, least := asked[observed], seen[who], floor[o.Invoke.Index]
		switch {
		case campaign == nil:
			j.Violation(o.Events(), "%s saw epoch 0x%x lead %s at %v, but no candidate had campaigned for it", e.Who(), e.Token, e.Object, e.Time)
		case campaign.Index > e.Index:
			j.Violation(inOrder(o.Events(), []history.Event{*campaign}), "%s saw epoch 0x%x lead %s at %v, before its campaign at %v",
				e.Who(), e.Token, e.Object, e.Time, campaign.Time)
		case last != nil && e.Token < last.Token:
			j.Violation(inOrder([]history.Event{*last}, o.Events()), "%s saw epoch 0x%x lead %s at %v, after it had seen the higher 0x%x",
				e.Who(), e.Token, e.Object, e.Time, last.Token)
		case least != nil && e.Token < least.Token:
			j.Violation(inOrder([]history.Event{*least}, o.Events()), "%s saw epoch 0x%x lead %s at %v, but %s had already led in 0x%x before the question",
				e.Who(), e.Token, e.Object, e.Time, least.Who(), least.Token)
		}
		seen[who] = e
	}
	j.NotExercised("no observer saw a leader")
}

func higher(a, b *history.Event) *history.Event {
	if a == nil || b.Token > a.Token {
		return b
	}
	return a
}
