// Package lockqueue is the queue of contenders that locks, elections and
// semaphores share: ephemeral sequential nodes in one directory, each waiting
// on the nearest one that it has to wait for, so that a departure wakes one
// contender and not all.
//
// The decision, who is served and who waits on whom, is a function of names
// alone: [Naming.Decide]. [Queue.Join] makes the requests. The recipe is the
// one in ZooKeeper's own documentation ("Locks"), with what it leaves open
// closed: the create is protected, the own node is verified, numbers are
// compared across the wrap of their 32 bits, and a turn is given out only
// while the session's lease stands.
//
// What is granted is a [Place]: the hold on one own node, its transactions and
// its departure. A place that needs no line has them too.
//
// Contenders of Curator and kazoo on the same directory count where the
// Naming lists what their names end with. Nobody else may set the data of a
// contender's node, nor delete it.
package lockqueue
