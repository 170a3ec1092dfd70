// Package conform finds out what servers that speak ZooKeeper's protocol do of that which zkcoord
// needs. It looks at them only as a client can: it breaks nothing, and so it does not see how they
// behave under faults. A scenario with --ensemble external does.
//
// A requirement is one thing that a server must do, the operations that show it, and the guarantees
// that fall without it. Most of them are the preconditions of the lease, in
// docs/decisions/0001-lease.md. The others are what recipes need of writes and watches. After them,
// random traces (internal/trace) are compared with zktest.
package conform
