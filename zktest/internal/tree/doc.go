// Package tree is the state that ZooKeeper's servers replicate: the znodes,
// the sessions, and the watches that one server keeps on them.
//
// A [Txn] is what the leader writes into the log. It holds the outcome of all
// checks, so that [Tree.Apply] does the same on every replica; the checks are
// made by [Prep], against the leader's tree and all that it has proposed and
// not applied yet. The order of the checks, and the code that each fails with,
// are those of ZooKeeper 3.8's PrepRequestProcessor.
//
// Nothing here knows a clock, a connection or another server. Iteration never
// goes over a Go map where its order could be seen: the same calls give the
// same results, down to the order of children.
package tree
