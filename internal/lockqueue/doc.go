// Package lockqueue is the queue of contenders that locks, elections and semaphores share. A
// contender is an ephemeral sequential node in one directory. Each contender waits on the nearest
// one that it has to wait for, so that a departure wakes one contender and not all of them.
//
// [Naming.Decide] decides which contenders are served, and on which other contender each of the
// rest waits. It is a function of names alone. [Queue.Join] makes the requests. The recipe is the
// one in ZooKeeper's own documentation ("Locks"), with additions: the create is protected against
// lost replies, the contender verifies that its own node exists, numbers are compared across the
// wrap of their 32 bits, and a turn is granted only while the session's lease stands.
//
// A granted turn is a [Place]. It holds one node, applies transactions and leaves. A place does not
// need a lock queue.
//
// Contenders of Curator and kazoo in the same directory count if the Naming lists the ends of their
// names. No other client may delete a contender's node or set its data.
package lockqueue
