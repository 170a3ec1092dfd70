// Package checker judges histories.
//
// A [Checker] judges one or more properties, each with a name, such as lock/no-overlap,
// that code, tests and reports share. The verdict on a property is Invalid with
// the few events that prove it, Valid, or Unknown: a checker that panicked or
// ran out of time, a history that is malformed or was cut short. NotExercised is
// an Unknown with a known reason: nothing happened that could have violated the
// property. Only Valid passes.
//
// [Run] is the one way to apply checkers: it turns whatever goes wrong in them
// into Unknown. [New] makes a checker of a function.
//
// A busy machine decides no verdict. Each run measures by how much its own timers
// are late, see [history.FactLag]. An overlap with a hold that was lost is exposure
// if it is shorter than that: the end of the hold, or the record of it, was held up.
// A hold that the program gives up has to end before the next one begins, however
// busy the machine is.
//
// # Properties
//
// One file a subject, with legal and illegal histories under testdata. Functions are
// named likewise; those that have no exported function come with their group, such
// as [Election].
//
//	lock/tokens-rise                  tokens are unique, and rise in real time
//	lock/fenced-writes                the fenced resource: accepted tokens never fall, increments add up
//	lock/no-overlap                   definite holds do not overlap
//	lock/no-release-after-loss        a release after the loss is an error, and no grant is held twice
//	lock/own-node-is-first            at the grant the own node exists, is owned by the own session and is lowest
//
//	client/nothing-left               nothing is left behind
//	client/waiters-served             after the heal every live waiter is granted within a given time
//
//	lock/grants-in-order              grants are given in order
//	lock/loss-before-expiry           a loss is told before the server could expire the session
//
//	rwlock/writer-alone               no writer holds with a writer or a reader
//	rwlock/readers-together           two readers at once happened
//	rwlock/no-overtaking              no reader passes an earlier writer, no writer passes anybody
//
//	semaphore/within-permits          no more permits are held than there are
//	semaphore/no-permit-lost          at the end all permits can be had at once
//
//	election/epochs-rise              epochs rise
//	election/one-leader-an-epoch      one leader an epoch
//	election/no-overlap               leaderships do not overlap
//	election/fenced-writes            epoch-fenced writes: accepted epochs never fall, increments add up
//	election/heir-sees-all            a new leader sees what earlier epochs wrote
//	election/loss-before-reelection   a leader is told of its end before it is elected again
//	election/leader-after-heal        after the heal there is a leader in time, and it stays
//	election/observers-see-leaders    observers see a leader of their time, never a future one
//	election/no-epoch-twice           nobody is elected twice for one epoch
//
//	group/members-listed              a member is listed from its join to its leave
//	group/no-stranger-listed          nobody is listed who did not join, or has left, or is long dead
//	group/changes-add-up              changes add up
//	group/followers-converge          who follows ends at those who are there
//
//	queue/nothing-invented            nothing comes out that was not put in
//	queue/nothing-lost                nothing is lost
//	queue/nothing-twice               nothing is delivered twice
//	queue/fifo-order                  first in, first out, in real time
//	queue/empty-is-true               empty is answered only if it was
//	queue/takers-wake                 a blocked take wakes
//	queue/drained-is-empty            a drained queue is empty
//	queue/priority-order              what is more urgent comes out first
//	queue/ack-with-effect             an acknowledgement and its effect are one
//
//	barrier/no-early-pass             nobody passes a barrier that stands
//	barrier/opens-in-time             everybody passes in time once the barrier is gone
//	barrier/no-missed-removal         who waits passes, though the barrier is set again at once
//
//	double-barrier/enter-together     nobody enters before the last member has come
//	double-barrier/no-quitter-counts  a member that gave up lets nobody through
//	double-barrier/leave-together     nobody leaves before all have finished
//	double-barrier/rounds-in-order    the next round begins after the last
//	double-barrier/rounds-go-on       after the heal rounds go on in time
//
//	watch/event-before-data           the event comes before the new data
//	watch/states-in-order             states come in the order of zxids, none twice
//	watch/one-event-each              one event for one registration
//	watch/final-state-reported        a watcher ends at the final state
//	watch/no-event-without-cause      no event without a cause
//	watch/recreation-reported         a node deleted and recreated in between is told of
//	watch/one-end-each                the end of a session ends each watch once
//
//	session/ephemerals-stay           an ephemeral of a live session stays
//	session/ephemerals-go             the ephemerals of an ended session go, on every server
//	session/expired-for-good          an expired session is not accepted again
//	session/expiry-in-time            sessions expire after their timeout, and not long after
//
//	register/writes-linearizable      writes are linearizable: zxids rise in real time
//	register/reads-after-sync         a read after sync sees all that was done before it
//	register/reads-sequential         reads are sequential and never invent a value
//	register/adds-count-once          a counter counts each add once
//
//	run/whole                         the run was whole: healthy before and after, healed, nothing panicked
//	run/faults-had-effect             each fault had an effect while clients worked, and was healed
//	run/operations-succeeded          each kind of operation succeeded
//	run/no-unexpected-error           no error but those that are expected
//	run/clean-logs                    no node reports that it went wrong
//	run/contention                    a wait for what another one held happened
//	run/takeovers                     a grant of what another one had lost happened
//	run/grants                        a grant happened
//	run/session-losses                a lost session happened
//	run/fenced                        an access refused by the fence happened
//
// The property run/whole is judged by package harness.
//
// Checkers are pure functions of the history, O(n log n) in its length, and
// compare indexes, not times (see package history). [Referee] is the general search
// by porcupine that they are compared with, for small slices only.
package checker
