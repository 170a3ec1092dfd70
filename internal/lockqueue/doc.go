// Package lockqueue is the queue of contenders that locks, elections and semaphores share. A
// contender is an ephemeral sequential znode in one directory. Each contender waits only on the
// nearest contender that it has to wait for, so that a departure does not wake all of them.
//
// [Naming.Decide] decides from the names of the znodes alone whether a contender is served, and
// otherwise which contender it waits for. [Queue.Join] makes the requests. The recipe is "Locks" of
// ZooKeeper's own documentation, with four additions. The create is protected against lost replies.
// The contender verifies that its own znode exists. Numbers are compared across the overflow of
// their 32 bits. A turn is granted only while the session's lease stands, except with Request.Gate.
//
// A contender that was granted its turn has a [Place], with one znode. The place applies
// transactions that fail unless the place is still held. [Place.Leave] gives the place up. Recipes
// without a lock queue use places too.
//
// Contenders of Curator and kazoo in the same directory take part if the Naming lists the suffixes
// of their names. No other client may delete a contender's znode or set its data.
package lockqueue
