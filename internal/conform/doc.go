// Package conform checks whether servers that speak ZooKeeper's protocol have the properties that
// zkcoord needs. It observes them only as a client and injects no faults, so it does not test their
// behavior under faults. A scenario with --ensemble external tests that.
//
// A requirement consists of one property of servers, the operations that show it, and the
// guarantees that do not hold without it. Most requirements are the preconditions of the lease, in
// docs/decisions/0001-lease.md. The others say how writes and watches must behave for the recipes.
// Finally, random traces (internal/trace) are compared with zktest.
package conform
