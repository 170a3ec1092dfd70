// Package lock is mutual exclusion between processes, on ZooKeeper.
//
// No lock service can keep a process from acting after it lost a lock: it may
// be paused between looking and acting. What this package gives is a context
// that ends before anybody else can be granted the lock, a fencing [Token] for
// resources that can compare it, and [Grant.Txn] for data that is in ZooKeeper
// itself. Use one of the latter two for what must not happen twice.
//
// # Usage
//
//	invoices := lock.NewMutex(s, "/locks/invoices", lock.Options{})
//	err := invoices.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
//		return send(ctx, g.Token()) // stops when ctx ends
//	})
//
// The context of the function ends with that of the caller, and when the lock is
// lost. Those who hold a lock for longer than one call take it by hand, release it
// with Unlock, and work under [Grant.Bind]:
//
//	grant, err := invoices.Lock(ctx)
//	if err != nil {
//		return err // nothing is held
//	}
//	defer grant.Unlock(ctx)
//	ctx = grant.Bind(ctx)
//
// # Guarantees
//
// L1. At most one grant of a Mutex, of an Exclusive, or of any path of a Multi,
// exists at a time: the context of one ends before the next is given out. For
// RWMutex the same holds between a writer and everybody else, and of a
// Semaphore no more permits are out than there are. (Assumptions: see package
// session, S2; nobody else sets the data of contenders' nodes or deletes them.)
//
// L2. Tokens grow: of two grants on one path, the later has the larger token,
// also after the path was deleted and made again.
//
// L3. Grants are given in the order in which contenders joined, except by
// Exclusive. A writer waits for everybody before it, so writers do not starve;
// a reader waits for the writers before it. Nobody comes between a writer and
// the reader that it is downgraded to.
//
// L4. A call that fails or is cancelled leaves no znode: it is deleted at
// once, or as soon as a server can be reached, or with the session.
//
// L5. A departure wakes at most one contender, and of readers waiting for one
// writer each once. Exclusive wakes all.
//
// L6. A transaction of Txn is applied only while the grant stands, at most
// once, and its answer is true also if a reply was lost.
//
// L7. Releasing what is no longer held is an error, which says why it ended.
//
// L8. With Options.Delay nobody is granted the lock for that long after a
// holder (of an RWMutex, a writer) vanished without releasing it.
//
// L9. The context of Do, and of Bind, is derived from that of the caller, and ends
// too, with the cause, before anybody else can be granted what is held. Do releases
// when its function has returned or panicked, and its error says if what was held
// was lost before.
//
// L10. Unlock ends the grant and begins the release whatever the state of its
// context, and the session finishes it.
//
// L11. A contender of a Mutex, RWMutex or Semaphore that is not the next one
// sends no write and no ping of its own while it waits. Its session stays ready as
// an idle one does: see session.Options.NoIdleLease.
//
// # Not guaranteed
//
// Locks are not reentrant, and one Mutex may be used by any number of
// goroutines: each call of Lock contends for itself. A reader cannot be
// upgraded: Lock with the context of its grant fails with ErrDeadlock.
//
// # Session loss
//
// When the session is lost its grants end with the cause, waiting calls fail
// with it, and the locks go on to others when the server expires the session.
// Get a new session and lock again; see session.Run.
//
// # Goroutines
//
// None, beyond those of the requests under way.
//
// # Znodes
//
//	<path>/<id>-lock-<number>             a contender of a Mutex
//	<path>/<id>-__WRIT__<number>          a writer; a reader, once its data was set
//	<path>/<id>-__READ__<number>          a reader
//	<path>/delay                          who was granted the lock last, with Options.Delay; persistent
//	<path>                                the node of an Exclusive
//	<path>/locks/<id>-lock-<number>       who waits at a Semaphore
//	<path>/leases/<id>-lease-<permits>    who holds permits
//	<path>/capacity                       how many permits there are; persistent
//
// Directories are made when needed, as containers, which the server deletes
// some time after their last child went. The data of a Mutex's path is used by
// Txn.
//
// Nodes of Curator's InterProcessMutex and InterProcessReadWriteLock and of
// kazoo's Lock, ReadLock and WriteLock on the same path count as contenders.
// For them to count ours, Curator needs nothing (a Mutex with its mutex, an
// RWMutex with its read-write lock) and kazoo's locks need
// extra_lock_patterns=["-lock-", "__WRIT__", "__READ__"]. A Semaphore shares
// its path with Curator's InterProcessSemaphoreV2 of the same size, which counts
// each lease as one permit: ours must then be acquired one by one.
package lock
