// Package tree has the state that ZooKeeper's servers replicate: the znodes and
// the sessions. It also has the watches of one server.
//
// A [Txn] is an entry of the leader's log. It contains the outcome of all
// checks, so [Tree.Apply] does the same on every replica. [Prep] makes the
// checks against the leader's tree and all transactions that are proposed and
// not applied yet. The order of the checks, and their error codes, are those of
// ZooKeeper 3.8's PrepRequestProcessor.
//
// Nothing in this package uses a clock, a connection or another server. Code
// does not range over a Go map if the order could be observed. So the same
// calls give the same results, including the order of children.
package tree
