// Package queue is a first-in first-out queue between processes, on ZooKeeper,
// with claims, dead letters, priorities and a bound.
//
// [Queue.Take] gives an item to one consumer and forgets it: at most once.
// [Queue.Claim] gives it to one consumer at a time, and it stays until that one
// has called [Claim.Ack]: at least once, and exactly once for effects that are
// part of the Ack. A claim rests on the session's lease: its context ends
// before anybody else can claim the item. What a consumer does outside of
// ZooKeeper after it was paused for longer than that, only [Claim.Token] can
// refuse.
//
// # Usage
//
//	jobs := queue.New(s, "/jobs", queue.Options[Job]{MaxAttempts: 3})
//	err := jobs.Do(ctx, func(ctx context.Context, claim *queue.Claim[Job]) error {
//		return work(ctx, claim.Value()) // stops when ctx ends
//	})
//
// Do waits for an item and claims it. It acks the item if the function returns nil,
// gives it back on an error, and moves it to the dead letters if the error is
// [ErrReject]. The context of the function ends with that of the caller, and when
// the claim is lost. Those who claim by hand work under [Claim.Bind].
//
// # Guarantees
//
// Q1. Every item that is given out is one that was put, as it was put.
//
// Q2. An item is put once or not at all, whichever replies are lost, and a
// batch as a whole. Put tells which.
//
// Q3. An item is taken by one consumer, once. When Take returns an item, it is
// deleted; when it returns an error, the item is in its place again or will be,
// unless the session or the process ended on the way, or somebody deleted the
// queue.
//
// Q4. Items are taken in the order of the transactions that put them, so also
// in real time and for each producer; a batch in its own order. Exceptions: an
// item that was given back (a claim released or lapsed, a cancelled Take, the
// rest of a loop) is offered at the latest when its consumer has drained one
// segment or would wait. Claims, and takes with Options.Relaxed, keep the order
// of segments only; within one they go in order while consumers do not collide.
//
// Q5. TryTake answers ErrEmpty only if at one time during the call all items
// were taken or claimed, as a majority of the servers knew; an item that was
// given back meanwhile may be passed over.
//
// Q6. A consumer that waits gets an item soon after there is one. A put wakes
// one consumer, and one more for each that has been served, however many wait.
// If that one is dead or cut off, the others wait for its session to expire.
//
// Q7. An item has one claim at a time. The context of a claim ends before
// anybody else can claim the item. (Assumptions: see package session, S2.)
//
// Q8. A call that fails or is cancelled leaves no node, no claim, and no item
// in nobody's hands: they are removed or given back at once, or as soon as a
// server can be reached, or with the session.
//
// Q9. With a Limit, a producer adds nothing that makes the queue larger than
// that, as it counted. Alone it is exact. Several that put at the same time
// share the room that they see, and may exceed it by a share each. Items put
// with PutAt are not counted before they are due, nor held up then.
//
// Q10. Ack takes the item away and applies its ops in one transaction, while
// the claim stands, or does neither, and tells truly which.
//
// Q11. An item that is not acked is not lost: it is offered again when its
// claimer released it, lapsed or died. Each claim is counted by the servers;
// after Options.MaxAttempts the item goes to the dead letters, in one
// transaction.
//
// Q12. An item of a priority is given out only if none before it is free: that
// nothing was put there meanwhile is checked in the transaction that gives it
// out. An item that was given back meanwhile may be passed over.
//
// Q13. An item put with PutAt joins the queue once, not before its time by the
// clock of the consumer that moves it, and is in one place at any time.
//
// Q14. The context of Do, and of a claim's Bind, is derived from that of the
// caller, and ends too, with the cause, before anybody else can claim the item.
// When its function has returned or panicked, Do ends the claim as the function
// says, also if the caller's context has ended. Its error says if the claim was
// lost before.
//
// Q15. Release ends the claim and begins to give the item back whatever the state
// of its context, and the session finishes it.
//
// # Not guaranteed
//
// A Take, or a loop over Items with Prefetch, whose process crashes, loses what
// it had taken. Use claims for what must not be lost.
//
// # Which call tells what after a lost reply
//
// Every transaction sets a node of the handle's own, conditional on its
// version, and is sent again until it is answered; so its outcome is known
// while the session lives. If the session ends first, or ctx does while the
// transaction is under way, or if somebody deletes that node after a reply was
// lost, session.OutcomeOf is Indeterminate: Put may have put; Take may have lost
// an item, unless it is only ctx that ended: then it is put back; Ack, Release
// and Reject may have happened, and the claim is over in any case.
//
// # Session loss
//
// Calls under way and loops end, with an error that says why. Claims end at the
// latest with the session, and the servers give their items to others when they
// expire it. Open a new session and a new queue; see session.Run.
//
// # Deleting a queue
//
// Somebody may delete a queue while there are handles, and it may be made anew.
// They go on with the new one: nothing that they had read of the old one is given
// out, claims on its items end with session.ErrRevoked, and what was to be given
// back is gone with it. They know by their nodes in marks: who deletes those alone
// revokes the claims, and who deletes items has to delete those too.
//
// # Cost
//
// With c items a transaction: Put 1/c requests an item, Take 2/c (read the node
// that they share, delete it; reads go ahead, several at once), Claim 3/c and Ack 1/c or less, as all goroutines
// that use one Queue share transactions. An item that is claimed for a second time costs two requests more: one of them
// writes it again. To find nothing costs a list of the
// segments and of the last one, and an ErrEmpty a transaction. To wait costs a node in a line, its deletion,
// and five watches for the first in the line. A segment is listed once for each
// consumer, and again where another took a part of a node. A consumer looks once
// a second for items that are due.
//
// # Goroutines
//
// None, beyond those of the requests under way.
//
// # Znodes
//
//	<path>/items/<priority>                      version = number of the open segment
//	<path>/items/<priority>/<segment>            some 256 puts, which its version counts
//	<path>/items/<priority>/<segment>/<first>.<last>-<number>    items, always the same ones
//	<path>/items/<priority>/<segment>/<first>.<last>-<tag>-<number>    an item that was put back
//	<path>/items/<priority>/<segment>/<first>.<last>-t<origin>-<number>    items that were put in a trace
//	<path>/items/<priority>/<segment>/<...>/c    the claim on an item; ephemeral
//	<path>/marks/<id>-<kind>-<number>            counts a handle's transactions; ephemeral
//	<path>/waiters/<id>-<kind>-<number>          a consumer, or producer, that waits; ephemeral
//	<path>/delayed/<second>-<priority>/<first>.<last>-<tag>-<number>   items that are not due yet
//	<path>/dead                                  a queue: the dead letters
//
// A put checks the version of <priority>, and who finds the open segment full
// opens the next one and sets that version in the same transaction as its own
// items. So the order of puts is the order of segments and of numbers, and a
// queue of a million items is no directory of a million names: nothing but Len
// ever lists it all.
//
// Items of kazoo's Queue and Curator's SimpleDistributedQueue are not consumed:
// they are one znode each in one directory, which is what makes those slow and
// lets them fail at some ten thousand items, and neither library could take
// from segments.
package queue
