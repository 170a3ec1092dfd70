// Package witness judges a history by the transaction logs of the servers.
//
// A client can be wrong about what it holds. Then a checker that reads only the records of clients
// is wrong too. The servers' logs contain every transaction of the quorum: which session created or
// deleted which znode, and when a session ended. [Merge] combines the logs of all servers into one
// sequence. [Log.Checkers] returns checkers that compare a history with this sequence:
//
//   - witness/servers-agree: no two servers have different transactions under one zxid.
//   - witness/grants-in-log: each grant has a committed transaction of its own session.
//   - witness/ended-before-deletion: each hold had ended when the servers deleted its znode.
//   - witness/predecessor-deleted: each exclusive grant was given after the znode of each earlier
//     holder was deleted.
//   - witness/sessions-in-log: each session that clients had is in the log, and ended there if it
//     was reported as expired.
//   - witness/items-in-log: each put, take, claim, ack, release and reject of a queue has in the
//     log the effect that its client reported.
//   - witness/members-in-log: each join and leave of a group has in the log the effect that its
//     client reported. Each member that was listed is in the log.
//   - witness/counts-in-log: each change of a counter has in the log the effect that its client
//     reported. Each value that was read is in the log.
//
// The checkers of the last three properties also find out what became of operations whose clients
// did not learn the outcome. The result of a valid run says how many of these operations were
// applied, and names some with their transactions.
//
// The package does not use the code of the primitives. It finds an item by its value in the data of
// a znode below the queue, and a claim by its token. It finds a member by its id in the name of an
// ephemeral znode, and a counter by its path.
//
// # What is committed
//
// One leader assigns each zxid, so two servers must have the same transaction under one zxid. But
// at the end of an epoch, a server can have written transactions that no majority accepted. If the
// next leader does not have these transactions, each server that follows this leader removes them
// from its log, before it writes transactions of the new epoch. So in a log that continues into the
// new epoch, the last transaction of the old epoch is the last committed one of that epoch. This
// does not apply if the server has a snapshot between the two epochs, because the snapshot may
// stand for transactions that the log lacks. Other logs may have transactions of the old epoch with
// larger zxids. Merge drops them.
//
// # Not judged
//
// Times of the logs are those of the leader's clock, in milliseconds. If a fault of the run has set
// clocks or timers, properties that compare times are not exercised. A log may have gaps, for
// example because a disk was wiped. Then a missing transaction proves nothing.
package witness
