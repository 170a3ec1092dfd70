// Package lock is mutual exclusion between processes, on ZooKeeper.
//
// No lock service can keep a process from acting after it lost a lock: it may
// be paused between looking and acting. What this package gives is a
// [Grant.Context] that ends before anybody else can be granted the lock, a
// fencing [Token] for resources that can compare it, and [Grant.Txn] for data
// that is in ZooKeeper itself. Use one of the latter two for what must not
// happen twice.
//
// # Guarantees
//
// L1. At most one grant of a Mutex exists at a time: the context of one ends
// before the next is given out. For RWMutex the same holds between a writer
// and everybody else. (Assumptions: see package session, S2.)
//
// L2. Tokens grow: of two grants on one path, the later has the larger token,
// also after the path was deleted and made again.
//
// L3. Grants are given in the order in which contenders joined. A writer waits
// for everybody before it, so writers do not starve; a reader waits for the
// writers before it.
//
// L4. A call that fails or is cancelled leaves no znode: it is deleted at
// once, or as soon as a server can be reached, or with the session.
//
// L5. A departure wakes at most one contender, and of readers waiting for one
// writer each once.
//
// L6. A transaction of Txn is applied only while the grant stands, at most
// once, and its answer is true also if a reply was lost.
//
// L7. Releasing what is no longer held is an error, which says why it ended.
//
// # Not guaranteed
//
// Locks are not reentrant, and one Mutex may be used by any number of
// goroutines: each call of Lock contends for itself. A Mutex cannot be
// upgraded; a writer can be downgraded.
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
//	<path>/<id>-lock-<number>   a contender of a Mutex, or a writer
//	<path>/<id>-read-<number>   a reader
//
// Path itself is made when needed, as a container, which the server deletes
// some time after its last child went. Nodes of Curator's InterProcessMutex
// and InterProcessReadWriteLock and of kazoo's Lock, ReadLock and WriteLock on
// the same path count as contenders. For them to count ours, Curator needs
// nothing and kazoo's Lock needs extra_lock_patterns=["-lock-", "-read-"].
package lock
