// Package queue is a first-in first-out queue that processes share through ZooKeeper. It has
// claims, dead letters, priorities, delayed items and a limit.
//
// # Usage
//
//	jobs := queue.New(s, "/jobs", queue.Options[Job]{MaxAttempts: 3})
//
//	err := jobs.Put(ctx, Job{ID: 1}, Job{ID: 2}) // both or none
//
//	err = jobs.Do(ctx, func(ctx context.Context, claim *queue.Claim[Job]) error {
//		return work(ctx, claim.Value()) // stops when ctx ends
//	})
//
// Do waits for an item and claims it. If the function returns nil, Do acks the item. If the
// function returns an error, Do gives the item back; an error that wraps [ErrReject] moves the item
// to the dead letters. The context of the function ends when the caller's context ends or when the
// claim is lost. A program that calls Claim itself gets such a context from [Claim.Bind].
//
// There are two ways to consume:
//
//   - [Queue.Take] deletes an item and returns it to one consumer: at most once.
//   - [Queue.Claim] gives an item to one consumer at a time. The item stays in the queue until that
//     consumer calls [Claim.Ack]: at least once, and exactly once for effects that are part of the
//     Ack.
//
// A claim depends on the lease of its session: the context of the claim ends before any other
// consumer can claim the item. A consumer that was paused for longer than the lease lasts may still
// act outside of ZooKeeper. Only the resource can refuse such an act, by [Claim.Token].
//
// # Guarantees
//
// Q1. Every item that a consumer gets was put by a producer, and has the content that was put.
//
// Q2. Put adds an item once or not at all, whichever replies are lost. It adds a batch as a whole
// or not at all. Put reports which.
//
// Q3. Each item is taken by one consumer, once. When Take returns an item, the item has been
// deleted. When Take returns an error, the item is in its place again or will be, unless the
// session or the process ended during the call, or a client deleted the queue.
//
// In other words, a lost reply or a cancelled call neither loses nor duplicates an item. A crash of
// the consumer in the middle of a Take can lose the item.
//
// Q4. Items are taken in the order of the transactions that put them. This order agrees with real
// time and with the order of each producer. A batch keeps its own order. There are two exceptions.
// First, an item can be given back: by a claim that is released or lapses, by a cancelled Take, or
// by a loop over Items that ends before it reaches the item. A consumer may be offered such an item
// late, but at the latest when it finds no other free item in the segment from which it takes (a
// directory with a part of the items), or when it finds none in the whole queue and would wait.
// Second, some calls keep only the order of segments: a claim always does, and a take does if
// Options.Relaxed is set. Within a segment, they keep the order of items as long as no two
// consumers request the same item.
//
// Q5. TryTake returns ErrEmpty only if, at one moment during the call, all items were taken or
// claimed according to a majority of the servers. It may pass over an item that was given back
// during the call.
//
// Q6. A waiting consumer gets an item soon after there is one. A put wakes one consumer, and each
// consumer that was served wakes one more, however many wait. If the woken consumer is dead or cut
// off, the others wait until its session expires.
//
// In other words, Take is first-in first-out except for items that were given back, and a put wakes
// one consumer instead of all of them.
//
// Q7. An item has at most one claim at a time. The context of a claim ends before any other
// consumer can claim the item. Guarantee S2 of package session states the assumptions.
//
// Q8. A call that fails or is cancelled leaves no znode and no claim, and every item that it has
// fetched is returned to a caller or given back to the queue. Znodes are removed and items are
// given back at once, or as soon as a server can be reached, or when the session ends.
//
// Q9. If Options.Limit is set, a producer adds no items that would make the queue larger than the
// limit, according to its own count. With a single producer the limit is exact. Producers that put
// at the same time divide the free room, each according to its own count. A count does not include
// items that others put later. So each producer may exceed the limit by its share of that room, or
// by the items of one transaction if these are more. Items of PutAt are not counted before they are
// due. When they are due, the limit does not delay them.
//
// Q10. Ack removes the item and applies its ops in one transaction while the claim is held, or does
// neither. It reports truthfully which.
//
// Q11. A claimed item that is not acked is not lost. It is offered again when its claimer releases
// it, when the claim lapses, or when the claimer dies. The servers count the claims. After
// Options.MaxAttempts claims, the item moves to the dead letters in one transaction.
//
// In other words, the effects of an item happen once if they are ops of its Ack. All other effects
// can happen more than once, because an item is claimed again if its consumer fails.
//
// Q12. An item is given out only if no item with a smaller priority number is free. The transaction
// that gives the item out also checks that no such item was put meanwhile. An item that was given
// back meanwhile may be passed over.
//
// Q13. An item of PutAt joins the queue once, and not before its time by the clock of the consumer
// that moves it. It is in exactly one place at any time.
//
// In other words, an urgent item goes first even if it is put late, and a delayed item is neither
// early nor lost nor duplicated.
//
// Q14. The contexts of Do and of Claim.Bind are derived from the caller's context. When the claim
// ends, they end too, with the cause, before any other consumer can claim the item. When the
// function of Do has returned or panicked, Do ends the claim according to the result, even if the
// caller's context has ended. If the claim was lost before that, the error of Do says so.
//
// Q15. Release ends the claim and begins to give the item back even if the context of the call has
// ended. The session then completes the release.
//
// In other words, the work on an item stops when the program stops or the claim is lost. A deferred
// Release then gives the item back.
//
// # Not guaranteed
//
// If a process crashes during a Take, or in a loop over Items with Prefetch, the items that it had
// taken are lost. Use claims for items that must not be lost.
//
// # Outcomes after a lost reply
//
// Each transaction that puts, takes, claims, acks, releases or rejects items also sets a ledger
// znode of the handle. The transaction fails if this znode does not have the expected version, so a
// repeated transaction is not applied twice. The handle repeats the transaction until a server
// answers. Therefore the outcome is known, except in these cases: the session ends first, ctx ends
// during the transaction, a client deletes the ledger znode after a reply was lost, or a server
// answers with an error that does not prove the outcome. Then session.OutcomeOf reports
// Indeterminate, which means:
//
//   - Put may have added the items.
//   - Take may have lost an item. If only ctx ended, the item is put back instead.
//   - Ack, Release and Reject may have happened. The claim is over in any case.
//
// # Session loss
//
// Calls in progress and loops end with an error that says why. Claims end with the session at the
// latest. When the servers expire the session, its claimed items are offered to other consumers.
// Open a new session and a new queue; see session.Run.
//
// # Deleting a queue
//
// A client may delete a queue while handles are in use, and the queue may be created again. The
// handles then continue with the new queue. They give out nothing that they had read from the old
// queue. Claims on items of the old queue end with session.ErrRevoked. Items that were about to be
// given back are gone with the old queue.
//
// Handles detect the deletion by their ledger znodes, which are below <path>/marks. A client that
// deletes only those znodes revokes the claims. A client that deletes items must delete the ledger
// znodes too.
//
// # Cost
//
// The goroutines that use one Queue share transactions. With c items in each transaction, an item
// costs:
//
//   - Put: 1/c requests.
//   - Take: 2/c requests, one to read the znode that the items share and one to delete it. Several
//     znodes are read ahead at once.
//   - Claim: 3/c requests, and 1/c or fewer for the Ack. An item that has a znode of its own costs
//     one more request, which reads how often the item was claimed. If the item was claimed before,
//     it costs another two requests, one of which writes the item again.
//
// A call that finds no item costs a list of the segments and a list of the last segment. If items
// are claimed, the call also lists their segments and reads their znodes. ErrEmpty costs one
// transaction more. Waiting costs the creation and deletion of a znode in the queue of waiters. The
// first waiter also sets three watches, and two more for each priority. Each consumer lists a
// segment once, and again after some collisions with other consumers. A consumer checks once a
// second for delayed items that are due.
//
// # Goroutines
//
// The package keeps no goroutines, except those of requests in progress.
//
// # Znodes
//
//	<path>/items/<priority>                      version = number of the open segment
//	<path>/items/<priority>/<segment>            full after 256 znodes; its version counts puts
//	<path>/items/<priority>/<segment>/<first>.<last>-<number>    items; they never change
//	<path>/items/<priority>/<segment>/<first>.<last>-<tag>-<number>    an item that was put back
//	<path>/items/<priority>/<segment>/<first>.<last>-t<origin>-<number>    items put in a trace
//	<path>/items/<priority>/<segment>/<...>/c    the claim on an item; ephemeral
//	<path>/marks/<id>-<kind>-<number>            the ledger znode of a handle; ephemeral
//	<path>/waiters/<id>-<kind>-<number>          a consumer, or producer, that waits; ephemeral
//	<path>/delayed/<second>-<priority>/<first>.<last>-<tag>-<number>   items that are not due yet
//	<path>/dead                                  a queue: the dead letters
//
// A put checks the version of <priority>. A producer that finds the open segment full opens the
// next one: the transaction that puts its items also increases that version. Therefore the order of
// puts is the order of segments, and of the numbers within a segment. A queue of a million items is
// never one directory of a million names. A consumer lists the segments only up to the first free
// item. Len and a Put with a Limit list all segments.
//
// This package does not consume the items of kazoo's Queue and Curator's SimpleDistributedQueue.
// Those libraries store each item as one znode in one directory. Therefore their queues are slow,
// and fail at about ten thousand items. Those libraries cannot take items from the segments of this
// package.
package queue
