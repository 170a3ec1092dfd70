// Package barrier lets processes wait for each other, on ZooKeeper: a
// [Barrier] is set and removed by hand, a [Double] lets a given number of
// members enter together and leave together, round after round.
//
// # Guarantees
//
// B1. Wait returns nil only if the barrier was not set at some time during the
// call, as a majority of the servers knew.
//
// B2. Everybody who waits passes once the barrier is removed, also if it is
// set again at once, and also after their connections were lost meanwhile.
//
// B3. Remove removes a barrier once at most: one that is set after it was removed
// stays, whichever replies are lost.
//
// D1. Nobody enters a round of a Double before it has its number of members,
// all of them alive: that is checked in the transaction that opens it.
//
// D2. A member whose Enter ended with an error lets nobody through: the
// transaction that opens a round fails if one of its members has gone. If it
// was too late for that, the member counts as having entered and left.
//
// D3. Leave returns nil only when every member of the round has called Leave,
// has died (its session ended), or has not come out of Enter (D2).
//
// D4. The transaction that opens a round begins the next one. So what is left
// of a round, whether its members left, crashed or gave up, opens no other.
//
// D5. Rounds open in the order of their numbers, and no member is in two.
//
// D6. A call that fails or is cancelled leaves no node: it is deleted at once,
// or as soon as a server can be reached, or with the session.
//
// # Not guaranteed
//
// A member may die, or be paused, right after a round opened. Who works
// together in a round should not rely on all of them being there still.
//
// # Session loss
//
// Calls under way fail with the cause. To the others a member whose session
// was lost has left, once the servers expire the session. The barrier itself
// is a persistent node and stays.
//
// Losing the connection changes nothing: calls wait for the next one.
//
// # Goroutines
//
// None, beyond those of the requests under way.
//
// # Znodes
//
//	<path>                        a Barrier: set while the node exists
//
//	<path>                        a Double: version = number of the round that gathers, data = its size
//	<path>/<round>                data = the members, once the round has opened; or "nobody", if it was passed over
//	<path>/<round>/<id>-member-<number>   a member
//
// A Barrier is the node that Curator's DistributedBarrier and kazoo's Barrier
// use, so they can be mixed on one path. A Double cannot be mixed with theirs,
// which have no rounds.
package barrier
