// Package conform checks whether servers that speak ZooKeeper's protocol have the properties that
// zkcoord needs. The package is only a client and injects no faults. To test servers under faults,
// run a scenario with --ensemble external.
//
// A requirement is one property of servers. Each requirement has the operations that show the
// property, and the guarantees that do not hold without the property. Most requirements are the
// preconditions of the lease, in docs/decisions/0001-lease.md. The others say how writes and
// watches must behave for the recipes. Finally, the servers' answers to random traces
// (internal/trace) are compared with those of zktest.
package conform
