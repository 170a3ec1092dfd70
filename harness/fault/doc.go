// Package fault has the faults of the harness: each injects, heals, and proves that it had an effect.
//
// What there is, what each kind of ensemble can do, and what to expect under it, is listed in docs/faults.md.
//
// Groups stand for several: session, link, kill, pause, rolling, partition, loss, clock,
// timers, disk, slow-sync, power-loss, wipe, truncate, bit-flip, old-data, data, client, and all. Clocks and disks are not in all, because nodes have to
// be made for them. Nor is what goes beyond what primitives can bear.
//
// # Guarantees
//
// What a fault draws is a function of the random source and of the numbers of nodes and clients, so that one seed gives one
// plan. Where a step names a role, such as "leader", it is resolved when the fault is injected.
//
// Faults that stand at the same time do not heal each other's cuts between servers, nor break a client that another one has, if they
// come from one call of Named or All. Of two that kill, pause, lose packets around, or set a clock of the same node the first heal undoes
// both, as a restart does: the other may then be without evidence. Plans drawn at the default intensity keep faults apart.
//
// The evidence that a fault had an effect is taken from what suffered: packets dropped, bytes that waited, a session that the ensemble
// does not know any more, a node that did not answer. A fault without any counts as one that was not drawn.
package fault
