// Package lockqueue is the queue of contenders that locks, elections and semaphores share. A
// contender is an ephemeral sequential znode in one directory. Each contender waits on the nearest
// one that it has to wait for, so that a departure does not wake all of them.
//
// [Naming.Decide] decides which contenders are served, and on which other contender each of the
// rest waits. It is a function of names alone. [Queue.Join] makes the requests. The recipe is the
// one in ZooKeeper's own documentation ("Locks"), with additions: the create is protected against
// lost replies, the contender verifies that its own znode exists, numbers are compared across the
// wrap of their 32 bits, and a turn is granted only while the session's lease stands.
//
// A contender that was granted its turn has a [Place]. A place has one znode. It applies
// transactions that fail unless the place is still held, and it is given up by [Place.Leave].
// Recipes without a lock queue use places too.
//
// Contenders of Curator and kazoo in the same directory take part if the Naming lists the suffixes
// of their names. No other client may delete a contender's znode or set its data.
package lockqueue
