// Package fault contains the faults of the harness. Each fault is injected and healed, and proves
// that it took effect.
//
// The file docs/faults.md lists the faults, the kinds of ensemble that support each, and the result
// to expect under each fault.
//
// Each fault has a name, and belongs to a family of one or several faults. The families are
// session, expiry-storm, link, kill, pause, rolling, partition, loss, edge, member, clock, timers,
// disk, slow-sync, power-loss, wipe, truncate, bit-flip, old-data, data and client. [Named] accepts
// the names of faults and of families.
//
// The name "all" selects faults of several families. It does not include the families member,
// clock, disk, slow-sync and power-loss, nor rolling-upgrade and rolling-downgrade, because nodes
// have to be configured for them. It also excludes expiry storms, the faults of clients' own
// processes, and faults that break an assumption of primitives, except session-close.
//
// # Guarantees
//
// The steps that a fault draws depend only on the random source and on the numbers of nodes and
// clients, so one seed gives one plan. A role in a step, such as "leader", is resolved when the
// fault is injected.
//
// Faults from one call of Named or All may be active at the same time. They do not heal each
// other's cuts between servers, and no two of them use the same client. But two active faults may
// kill the same node, pause it, lose or delay its packets, slow its syncs, change its role, or set
// its clock or its timers. The first heal then undoes both faults. If one fault restarts the node,
// the restart also undoes a kill or a pause by the other fault. A fault that was undone early may
// have no evidence. Plans drawn at the default intensity keep faults apart.
//
// The evidence that a fault took effect comes from the affected part: packets dropped, bytes
// delayed, a session that the ensemble has ended, or a node that did not answer. For the
// verdict, a fault without evidence counts as if it had not been drawn.
package fault
