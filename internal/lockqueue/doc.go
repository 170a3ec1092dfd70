// Package lockqueue implements the lock queue: the queue in which clients wait for a lock, a
// semaphore or an election. Each client in a queue is a contender, with an ephemeral sequential
// znode in the queue's directory. A contender watches only the nearest contender that it has to
// wait for, so that a departure does not wake all contenders.
//
// [Queue.Join] creates the znode and waits for the contender's turn. [Naming.Decide] decides, from
// the names of the znodes alone, whether it is the contender's turn, and otherwise for which
// contender to wait. The recipe is "Locks" of ZooKeeper's own documentation, with four additions:
//
//   - The request that creates the znode is protected against lost replies.
//   - The contender verifies that its own znode exists.
//   - The comparison of sequence numbers allows for the overflow of their 32 bits.
//   - A contender is served only while the session's lease stands, unless Request.Gate is set.
//
// When it is a contender's turn, Join returns a [Place], which belongs to the contender's znode.
// [Place.Txn] applies a transaction that fails unless the place is still held. [Place.Leave] gives
// the place up. Recipes without a lock queue use places too.
//
// Contenders of Curator and kazoo in the same directory take part if the Naming lists the suffixes
// of their names. No other client may delete a contender's znode or set its data.
package lockqueue
