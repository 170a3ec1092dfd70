// Package nemesis has the faults of the harness: each injects, heals, and proves that it bit.
//
//	session-close      a client's session is closed by a second connection with its id and password
//	session-hold       a client's link is held longer than its session timeout
//	link-hold          a client's link is held for less than that, and heals on the same connection
//	link-one-way       the same in one direction
//	link-reset         a client's connections are reset
//	link-delay         what a client sends and gets is late
//	kill-leader        kill -9, and started again; the same for a follower, a majority, all
//	pause-leader       SIGSTOP, or the freezer, and let go on; the same for a follower, a majority
//	rolling-restart    every node is killed and started again, one after another
//	partition-one      one follower is cut off from all others
//	partition-leader   the leader is
//	partition-halves   two groups; the leader is in the smaller one, if it can be
//	partition-bridge   two halves that see each other only through one node
//	partition-ring     every node sees a majority, no two the same one
//	partition-one-way  one node hears the others, which do not hear it, or the other way round
//	partition-clients  a follower is cut off from its peers together with clients that reach only it
//
// Groups stand for several: session, link, kill, pause, rolling, partition, and all.
//
// # Guarantees
//
// What a fault draws is a function of the random source and of the numbers of nodes and clients, so that one seed gives one
// plan. Where a step names a role, such as "leader", it is resolved when the fault is injected. Faults that stand at the same
// time do not heal each other, if they come from one call of Named or All.
//
// The evidence that a fault bit is taken from what suffered: packets dropped, bytes that waited, a session that the ensemble
// does not know any more, a node that did not answer. Without any the run counts the fault as not exercised.
package nemesis
