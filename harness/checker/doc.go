// Package checker judges histories.
//
// A [Checker] judges one or more properties. Each property has a name, such as lock/no-overlap,
// which code, tests and reports share. The verdict on a property is one of these:
//
//   - Invalid: the history violates the property, and a few events prove it.
//   - Valid: the property could have been violated and was not.
//   - NotExercised: nothing happened that could have violated the property.
//   - Unknown: nothing can be concluded, for example because the checker panicked or ran out of
//     time, the history is malformed or was cut short, or the ensemble did not recover.
//
// Only Valid passes. [IfExercised] makes a property optional: then a run can also pass if it does
// not exercise the property.
//
// [Run] applies checkers, and reports a failure inside a checker as Unknown. [New] makes a checker
// from a function.
//
// A busy machine alone makes no property Invalid. Each run measures how late the timers of its
// process are (the lag, see [history.FactLag]), and when the process did not run at all (a stall,
// see [history.FactStall]). A hold ends late if it ends only after the servers have granted its
// object to another client, or have ended its session. The lateness of the hold is the time from
// that grant, or from that end of the session, to the end of the hold. The lateness counts as
// exposure (see [Result.Exposure]), and not as a violation, in two cases:
//   - All of the lateness, apart from the lag, was during a stall.
//   - The hold was lost, and the rest of the lateness is shorter than the largest lag in it. The
//     rest is the lateness minus all stalls and all delays of timers in it.
//
// A busy machine can also make the verdict Unknown, in two cases:
//   - A wait exceeded its limit only because of stalls, or because servers did not answer in time.
//   - A leader lost its term after the heal, while this machine was too busy to renew a lease.
//
// A busy machine excuses nothing else. An overlap that continues after a stall is a violation. A
// hold that the program gives up must end before the next hold of the same object begins, however
// late timers are.
//
// # Properties
//
// Each file has the properties of one subject. Legal and illegal histories for them are under
// testdata. A checker's function is named after its property. If a checker has no exported
// function, the function of its group returns it, for example [Election].
//
//	lock/tokens-rise                  tokens are unique and rise in real time
//	lock/fenced-writes                the fenced resource never accepts a smaller token, and no increment is lost
//	lock/no-false-refusal             the fenced resource refuses no token that is the largest
//	lock/no-overlap                   no two clients hold the lock at the same time
//	lock/no-release-after-loss        a release after a loss returns an error, and no grant is held twice
//	lock/own-node-is-first            a holder's znode exists, belongs to its session and is first in the lock queue
//
//	client/nothing-left               no client leaves anything behind
//	client/waiters-served             after the heal every waiting client is granted within a given time, plus one hold of each client
//
//	lock/grants-in-order              grants are given in the order of their tokens
//	lock/loss-before-expiry           a hold ends before the servers expire its session
//
//	rwlock/writer-alone               no writer holds together with a writer or a reader
//	rwlock/readers-together           at some time, two readers hold the lock at once
//	rwlock/no-overtaking              no reader overtakes an earlier writer, and no writer overtakes anybody
//
//	semaphore/within-permits          no more permits are held than exist
//	semaphore/no-permit-lost          after the run all permits can be acquired at once
//
//	election/epochs-rise              epochs are unique and rise in real time
//	election/one-leader-an-epoch      no epoch has two leaders
//	election/no-overlap               no two terms overlap
//	election/fenced-writes            the fenced resource never accepts a smaller epoch, and no increment is lost
//	election/heir-sees-all            a new leader sees what the leaders of earlier epochs wrote
//	election/loss-before-reelection   a leader's term ends before the same client is elected again
//	election/leader-after-heal        after the heal a leader is elected in time, and its term lasts
//	election/observers-see-leaders    an observer never sees a future leader, and never goes back to an earlier one
//	election/no-epoch-twice           no client leads the same epoch twice
//
//	group/members-listed              a member is listed from its join to its leave
//	group/no-stranger-listed          a list contains only members that have joined, have not left and are alive
//	group/changes-add-up              the reported changes add up to the reported list
//	group/followers-converge          each follower ends with the list of the present members
//
//	queue/nothing-invented            only items that were put are delivered
//	queue/nothing-lost                no item is lost
//	queue/nothing-twice               no item is delivered twice
//	queue/fifo-order                  items are delivered in the order of their puts, in real time
//	queue/empty-is-true               a take reports an empty queue only if the queue was empty
//	queue/takers-wake                 a blocked take returns in time once there is an item
//	queue/drained-is-empty            a drained queue is empty
//	queue/priority-order              a more urgent item is delivered first
//	queue/ack-with-effect             an ack and its effect happen together or not at all
//
//	barrier/no-early-pass             no client passes while the barrier is set
//	barrier/opens-in-time             every waiter passes in time after the barrier is removed
//	barrier/no-missed-removal         a waiter passes even if the barrier is set again at once
//
//	double-barrier/enter-together     no member enters before the last one has come
//	double-barrier/no-quitter-counts  a member that gave up does not count
//	double-barrier/leave-together     no member leaves before all have finished
//	double-barrier/rounds-in-order    a round begins only after the previous one has ended
//	double-barrier/rounds-go-on       after the heal rounds complete in time
//
//	watch/event-before-data           a client receives the event before it reads the new data
//	watch/states-in-order             states are reported in the order of their zxids, none of them twice
//	watch/one-event-each              a registration fires at most once
//	watch/final-state-reported        a watcher ends with the final state
//	watch/no-event-without-cause      every event has a cause
//	watch/recreation-reported         a watcher reports that a znode was deleted and created again
//	watch/one-end-each                the end of a session ends each of its watches once
//
//	session/ephemerals-stay           an ephemeral znode exists while its session is alive
//	session/ephemerals-go             the ephemeral znodes of an ended session disappear on every server
//	session/expired-for-good          no server accepts an expired session again
//	session/expiry-in-time            a session expires after its timeout, and not much later
//
//	register/writes-linearizable      writes are linearizable: their zxids rise in real time
//	register/reads-after-sync         a read after a sync sees every write that completed before it
//	register/reads-sequential         reads are sequentially consistent and return only values that were written
//
//	counter/linearizable              each call on a counter has its effect at one instant, and its result is right for that instant
//
//	run/whole                         the run was whole: the ensemble was healthy before and after, each fault was healed, nothing panicked
//	run/faults-had-effect             each fault was healed, and some had an effect while clients worked
//	run/operations-succeeded          each kind of operation succeeded at least once
//	run/clean-logs                    no server logs an internal error
//	run/contention                    at least n waits for something that another client held
//	run/takeovers                     at least n grants of something that another client had lost
//	run/grants                        at least n grants
//	run/session-losses                at least n lost sessions
//	run/fenced                        at least n accesses refused by the fence
//
// Package harness judges the property run/whole.
//
// The verdict of a checker depends only on the history, except for run/clean-logs, which reads the
// servers' logs. Checkers take O(n log n) time for n events, except for counter/linearizable, which
// searches for an order. They order events by index, not by time (see package history). [Referee]
// uses porcupine, a library that searches for a linearization. It can judge only a short part of a
// history.
package checker
