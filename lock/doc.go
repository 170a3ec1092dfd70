// Package lock provides mutual exclusion between processes through ZooKeeper.
//
// # Usage
//
//	invoices := lock.NewMutex(s, "/locks/invoices", lock.Options{})
//
//	err := invoices.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
//		return send(ctx, g.Token()) // stops when ctx ends
//	})
//
// The context of the function ends when the caller's context ends or when the lock is lost. To hold
// a lock for longer than one call, acquire the lock with Lock, work with the context of
// [Grant.Bind], and release the lock with Unlock:
//
//	grant, err := invoices.Lock(ctx)
//	if err != nil {
//		return err // nothing is held
//	}
//	defer grant.Unlock(ctx)
//	ctx = grant.Bind(ctx)
//
// No lock service can prevent a process from acting after it lost a lock, because the process may
// be paused after it has checked the lock and before it acts. This package gives you:
//
//   - a context that ends before any other client can be granted the lock,
//   - a fencing [Token] for resources that can compare it,
//   - and [Grant.Txn] for data in ZooKeeper itself.
//
// For acts that must not happen twice, use the token or Grant.Txn.
//
// # Guarantees
//
// L1. A Mutex, an Exclusive, and each path of a Multi have at most one grant at a time: the context
// of one grant ends before the next is granted. For an RWMutex, the same holds between a writer and
// all others. For a Semaphore, no more permits are held than exist. Guarantee S2 of package session
// states the assumptions. There is one more assumption: no other program sets the data of
// contenders' znodes, or deletes them or the znode that has the capacity of a Semaphore.
//
// L2. Tokens grow: of two grants on one path, the later one has the larger token. This holds even
// if the path was deleted and created again.
//
// In other words, two holders never work at the same time while both obey their contexts, and a
// resource that compares tokens can refuse a holder that does not.
//
// L3. Grants are given in the order in which contenders joined, except by Exclusive. A writer waits
// for all contenders before it, so writers do not starve. A reader waits for the writers before it.
// No contender gets between a writer and the reader that it is downgraded to.
//
// L4. A call that fails or is cancelled leaves no znode. The znode is deleted at once, or as soon
// as a server can be reached, or when the session ends.
//
// L5. A departure wakes at most one contender, with two exceptions. If several readers wait for one
// writer, its departure wakes each of them once. An Exclusive wakes all waiters.
//
// In other words, waiting is fair and cheap, and a failed call needs no clean-up.
//
// L6. A transaction of Txn is applied only while the grant is held, and at most once. Its result is
// truthful even if a reply was lost.
//
// L7. Releasing a lock or permits that are no longer held is an error, which says why the grant
// ended.
//
// L8. If Options.Delay is set, the lock is granted to nobody for that time after a holder vanished
// without releasing it. For an RWMutex, this applies to a writer that vanished.
//
// In other words, you are notified if the lock was lost before its release, and a store that cannot
// compare tokens can be protected by a delay.
//
// L9. The contexts of Do and Bind are derived from the caller's context. When the grant ends, they
// end too, with the cause, before any other client can be granted the lock or the permits. Do
// releases when its function has returned or panicked. If the grant was lost before that, the error
// of Do says so.
//
// L10. Unlock ends the grant and begins the release even if the context passed to Unlock has ended.
// The session completes the release.
//
// L11. A contender of a Mutex, RWMutex or Semaphore that is not the next one sends no writes and no
// pings of its own while it waits. Its session stays ready to begin a lease at once, in the same
// way as an idle session: see session.Options.NoIdleLease.
//
// In other words, work under a lock stops when the program stops or the lock is lost, the lock is
// always released, and a thousand waiting clients put no load of their own on the servers.
//
// # Not guaranteed
//
// Locks are not reentrant. Any number of goroutines may use one Mutex: each call of Lock is a
// contender of its own. A reader cannot be upgraded: Lock fails with ErrDeadlock if it is called
// with the context of a reader's grant.
//
// ErrDeadlock is for a call that would wait for its own caller. Other deadlocks are not detected:
// if two clients each hold what the other one requests, both wait until a context ends. To acquire
// several locks, use a Multi. To acquire several permits, request them in one call.
//
// # Session loss
//
// When the session is lost, its grants end with the cause of the loss, and waiting calls fail with
// the same cause. When the servers expire the session, they release its locks to other contenders.
// Open a new session and lock again; see session.Run.
//
// # Goroutines
//
// The package keeps no goroutines, except those of requests in progress.
//
// # Znodes
//
//	<path>/<id>-lock-<number>             a contender of a Mutex
//	<path>/<id>-__WRIT__<number>          a writer, or a downgraded writer if its data has been set
//	<path>/<id>-__READ__<number>          a reader
//	<path>/delay                          the mark for Options.Delay (see below); persistent
//	<path>                                the znode of an Exclusive
//	<path>/locks/<id>-lock-<number>       a contender that waits at a Semaphore
//	<path>/leases/<id>-lease-<permits>    a holder of permits
//	<path>/capacity                       the number of permits; persistent
//
// Directories are created when they are needed. They are containers, which the servers delete some
// time after their last child is gone. Txn of a Mutex or of a writer may overwrite the data of the
// znode at path, so store no data there.
//
// With Options.Delay, the data of <path>/delay names the znode of the holder (for an RWMutex, of
// the writer) until the holder releases. If a contender finds there the name of a znode that is
// gone, the contender waits for the delay.
//
// Znodes of Curator's InterProcessMutex and InterProcessReadWriteLock, and of kazoo's Lock,
// ReadLock and WriteLock, count as contenders if they are on the same path. The reverse depends on
// the library. Without any option, Curator's mutex counts the contenders of a Mutex, and Curator's
// read-write lock counts those of an RWMutex. Kazoo's locks need the option
// extra_lock_patterns=["-lock-", "__WRIT__", "__READ__"].
//
// A Semaphore can share its path with Curator's InterProcessSemaphoreV2 of the same size. Curator
// counts each znode in <path>/leases as one permit, so permits of the Semaphore must then be
// acquired one by one.
package lock
