// Package group is who is there: members that come, change their data and go,
// and others that follow it, on ZooKeeper. Service discovery is its common use:
// servers join with their address, clients pick one of them.
//
// A member is listed until the servers expire its session, so one that is
// listed may be dead already, and one that is not listed may still be running.
// Where two must not act at once, use package lock or election.
//
// # Guarantees
//
// G1. A member is listed when Join returns, until it leaves or its session
// ends. It is listed once, whichever replies are lost.
//
// G2. A call of Join that fails or is cancelled leaves no member.
//
// G3. A member that changes its data, or joins again in a new session before
// the old one has expired, is not seen to go in between.
//
// G4. What [Group.Changes] gives adds up: the first is everybody, and each next
// tells who came, went or changed since the one before. In the end it is those
// that are there. Changes in quick succession may come as one.
//
// G5. One who follows keeps one watch. A change costs it one list, and one read
// for each member that came or changed.
//
// # Not guaranteed
//
// Two processes that join with the same id count as one member: that which
// joined last.
//
// # Session loss
//
// A membership ends with its session, and so does following. [Run] joins again
// in each new session; a [View] goes on with the members that it knew last, in
// session.Run.
//
// # Goroutines
//
// One for each membership whose end is awaited, by Wait or Done, until it ends or
// its session does; and those of the requests under way.
//
// # Znodes
//
//	<path>/<number>-<member's id>-<sequence>   one incarnation of a member
//
// The number is of 32 hexadecimal digits. Of several incarnations of one id
// the last counts. Path itself is made when needed, as a container.
package group
