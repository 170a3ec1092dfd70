// Package barrier lets processes wait for each other on ZooKeeper. A [Barrier] stays set until a
// program removes it. A [Double] lets a given number of members enter together and leave together,
// round after round.
//
// # Usage
//
//	b := barrier.New(s, "/maintenance")
//	if err := b.Set(ctx); err != nil { // later: b.Remove(ctx)
//		return err
//	}
//	err := barrier.New(other, "/maintenance").Wait(ctx) // returns after Remove
//
//	step := barrier.NewDouble(s, "/step", 3)
//	round, err := step.Enter(ctx) // returns when three members are in the round
//	if err != nil {
//		return err
//	}
//	work(ctx)
//	err = round.Leave(ctx) // returns when all three have left
//
// # Guarantees
//
// B1. Wait returns nil only if, at some time during the call, the barrier was not set according to
// a majority of the servers.
//
// B2. Once the barrier is removed, every waiter continues. This also holds if the barrier is set
// again at once, and if a waiter's connection was lost meanwhile.
//
// B3. Remove removes a barrier at most once: a barrier that is set after the removal stays,
// whichever replies are lost.
//
// D1. No member enters a round of a Double before the round has its number of members, all of them
// alive. The transaction that opens the round checks this.
//
// D2. A member whose Enter ended with an error lets nobody through: the transaction that opens a
// round fails if one of its members has gone. If the round opened before the member was removed,
// the member counts as having entered and left.
//
// D3. Leave returns nil only when every member of the round has called Leave, has died (its session
// ended), or has received no Round from Enter (D2).
//
// D4. The transaction that opens a round also begins the next one. So the remains of a round open
// no other round, whether its members left, crashed or gave up.
//
// D5. Rounds open in the order of their numbers, and no member is in two rounds.
//
// D6. A call that fails or is cancelled leaves no znode behind. The znode is deleted at once, or as
// soon as a server can be reached, or when the session ends.
//
// In other words, no waiter passes a barrier that stays set. The members of a round start together
// and finish together, and a member that crashes or gives up neither opens a round too early nor
// blocks the others.
//
// # Not guaranteed
//
// A member may die, or be paused, right after a round has opened. The members of a round must not
// assume that all of them are still there.
//
// # Session loss
//
// Calls in progress fail with the cause. When the servers expire the session of a member, the
// others see that the member has left. The barrier itself is a persistent znode and stays.
//
// A lost connection changes nothing: calls wait for the next connection.
//
// # Goroutines
//
// The package starts no goroutines except those of requests in flight.
//
// # Znodes
//
//	<path>                        a Barrier: set while the znode exists
//
//	<path>                        a Double: version = number of the gathering round, data = its size
//	<path>/<round>                data = the members, once the round has opened; or "nobody", if it was skipped
//	<path>/<round>/<id>-member-<number>   a member
//
// Curator's DistributedBarrier and kazoo's Barrier use the same znode as a Barrier, so all three
// can be used together on one path. A Double cannot share a path with the double barriers of
// Curator and kazoo, because these have no rounds.
package barrier
