// Package counter provides an int64 in ZooKeeper that many processes can add to.
//
// A plain conditional write of a number cannot be repeated after a lost reply, because the stored
// number does not show which client wrote it. Clients that repeat the write can count twice, and
// clients that give up do not know what they counted. In this package, each handle (a [Counter] in
// one session) has its own znode. Each write is one transaction that also sets this znode. So the
// znode shows which writes of the handle were applied.
//
// # Usage
//
//	orders := counter.New(s, "/counters/orders", counter.Options{})
//	defer orders.Close(ctx)
//	n, err := orders.Add(ctx, 1)
//	if err != nil {
//		return err // session.OutcomeOf(err) says whether the order was counted
//	}
//	fmt.Println("order number", n)
//
// Any number of goroutines can use one handle. The more of them call it at the same time, the fewer
// requests each call needs.
//
// # Guarantees
//
// C1. A call that changes the value does so exactly once if its error is nil, and never if the
// outcome of its error is Failed, whichever replies are lost. The outcome is Indeterminate only if,
// while the transaction was in progress, ctx or the session ended, another client deleted the
// handle's znode, or a server answered with an error that leaves the outcome open: see
// recipe.Ledger.Do. Such a change is applied at most once.
//
// In other words, a call without an error was counted once. A call with a Failed error was not
// counted, so you can call again. An Indeterminate error is rare: a context or a session ends while
// the write is in progress, a client deletes the handle's znode, or a server has a fault.
//
// C2. All calls of all handles on one path are linearizable: each takes effect at one instant
// between its beginning and its end. Add returns the value at that instant. So no two adds of a
// positive number return the same value, as long as nobody lowers the value. Get does not return a
// value that was replaced before Get was called, whichever server answers.
//
// In other words, the numbers that Add(ctx, 1) returns can number orders.
//
// C3. Calls of goroutines that share a handle are combined into one write. Each call gets the
// result that it would have had if the calls had been made one after the other. A call that fails
// by itself, for example because of an overflow, does not affect the others.
//
// C4. An Add whose sum does not fit into an int64 fails with ErrOverflow and changes nothing. A
// majority of the servers has confirmed the value on which this decision is based. The same holds
// for a CompareAndSet that reports false.
//
// C5. A call ends with its context. If ctx ends before the call's write begins, the outcome is
// Failed, and nothing is written later. No write begins while the session is known to be without a
// connection.
//
// C6. No znode remains except the counter itself: the handle's own znode is ephemeral, and Close
// deletes it. Get creates no znode.
//
// C7. Data that are not a number in the handle's format are never overwritten. Each call then fails
// with ErrFormat.
//
// In other words, a wrong Options.Format or a wrong path does not destroy data.
//
// # Not guaranteed
//
// A counter is a register with many writers, and each write needs the version that the previous
// write produced. If many handles write at the same time, a call can need several attempts, and the
// handles are served in no particular order. For numbers that only have to be unique, with or
// without gaps, a counter with few handles is cheap. For millions of events a second, use something
// else.
//
// Delete a counter only while no handle is open. The next handle then begins at 0. Suppose that
// another client deletes the counter's znode and all handles' znodes below it, just before a handle
// creates its own znode. The handle may then create the missing counter as a container. Servers
// delete such a counter some time after its last handle is gone. The same happens to a counter that
// another client has created as a container.
//
// The version of a znode has 32 bits, and for servers the version -1 means any version. A znode
// that was written 4294967295 times may have the version -1. Calls that write then fail with
// ErrExhausted until the znode's data are set once without a version, for example with the command
// "zkcoord znode set".
//
// # Session loss
//
// When the session is lost, calls in progress return the cause. The value remains. Open a new
// session and create a new handle in it; see session.Run.
//
// # Goroutines
//
// Each handle has one goroutine while calls that write are in progress. Requests in progress have
// further goroutines.
//
// # Cost
//
// A write is one transaction of two operations, if no other handle has changed the value since this
// handle last read or wrote it. The first call of a handle also checks whether the counter exists,
// creates the handle's znode, and reads the value. A conflict costs a read and another transaction.
// Get costs a read barrier, which is a quorum write that changes nothing, and a read.
//
// # Znodes
//
//	<path>                     the value; persistent
//	<path>/<id>-add-<number>   the znode of a handle; its version counts the handle's writes
//
// With the format [Decimal] the data are the value's decimal digits, like those of kazoo's Counter
// with its default of type int. With [BigEndian] the data are the value's 8 bytes, the most
// significant first, like those of Curator's DistributedAtomicLong. Handles can share a path with
// these clients. If the reply to a write is lost, the other clients do not know whether the write
// was applied, and kazoo repeats it. So the guarantees hold only for the calls of this package: the
// value can count a call of another client twice. For all these clients, empty data mean 0.
// Curator's DistributedAtomicInteger and SharedCount, and kazoo's Counter with support_curator, use
// 4 bytes, too few for an int64. Such data cause an ErrFormat.
package counter
