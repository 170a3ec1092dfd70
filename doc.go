// Package zkcoord is the map of this module. It has no code: import the package that you need.
//
// # For programs
//
// These packages depend only on the ZooKeeper client, with the exceptions that the list names.
//
//   - [github.com/zkcoord/zkcoord/session]: a ZooKeeper session, its requests, and its lease
//   - [github.com/zkcoord/zkcoord/recipe]: what the author of a recipe needs: protected znodes,
//     holds, idempotent transactions
//   - [github.com/zkcoord/zkcoord/lock]: mutex, read-write lock, semaphore, several locks at once
//   - [github.com/zkcoord/zkcoord/election]: one leader among processes
//   - [github.com/zkcoord/zkcoord/queue]: a first-in first-out queue with claims, priorities and
//     delays
//   - [github.com/zkcoord/zkcoord/barrier]: a barrier that is set and removed, and a double barrier
//   - [github.com/zkcoord/zkcoord/counter]: an int64 that many processes add to; each addition is
//     counted once
//   - [github.com/zkcoord/zkcoord/watch]: changes of znodes as a stream
//   - [github.com/zkcoord/zkcoord/group]: the members of a group, and their changes as a stream
//   - [github.com/zkcoord/zkcoord/fence]: resources that refuse a stale fencing token: SQL, HTTP,
//     files (depends only on the standard library)
//   - [github.com/zkcoord/zkcoord/vet]: an analyzer for work that continues after its lock was lost
//     (depends only on golang.org/x/tools)
//   - [github.com/zkcoord/zkcoord/session/sessionotel]: traces and metrics of sessions (also
//     depends on OpenTelemetry)
//
// # For tests
//
//   - [github.com/zkcoord/zkcoord/zktest]: an ensemble inside the test's process, on a real or a
//     virtual clock
//   - [github.com/zkcoord/zkcoord/harness]: one run: an ensemble, clients, faults, a history, a
//     verdict
//   - [github.com/zkcoord/zkcoord/harness/crashpoint]: a call that is interrupted at each of its
//     requests, and a check of what remains
//   - [github.com/zkcoord/zkcoord/harness/fault]: the faults, each with its heal and its evidence
//   - [github.com/zkcoord/zkcoord/harness/netfault]: a client's connection that is stalled, reset
//     or delayed
//   - [github.com/zkcoord/zkcoord/harness/history]: what happened in a run
//   - [github.com/zkcoord/zkcoord/harness/checker]: properties that a history must have
//   - [github.com/zkcoord/zkcoord/harness/witness]: the servers' transaction logs, compared with a
//     history
//   - [github.com/zkcoord/zkcoord/harness/leases]: the evidence for the lease of each session, and
//     checkers of these leases
//   - [github.com/zkcoord/zkcoord/harness/report]: results as pages, JUnit and JSON
//   - [github.com/zkcoord/zkcoord/harness/ensemble]: what the harness needs of an ensemble
//   - [github.com/zkcoord/zkcoord/harness/ensemble/container]: an ensemble in containers
//   - [github.com/zkcoord/zkcoord/harness/ensemble/process]: an ensemble of local JVMs
//   - [github.com/zkcoord/zkcoord/harness/ensemble/embedded]: zktest as an ensemble of the harness
//   - [github.com/zkcoord/zkcoord/harness/ensemble/external]: an ensemble that is already there
//   - [github.com/zkcoord/zkcoord/harness/ensemble/ensembletest]: the contract that every kind of
//     ensemble keeps
//   - [github.com/zkcoord/zkcoord/scenarios]: this project's own scenarios, one in each file
//   - [github.com/zkcoord/zkcoord/docker/zookeeper]: the container image of a node
//
// The command is [github.com/zkcoord/zkcoord/cmd/zkcoord]. docs/whats-here.md is the map for those
// who change the project.
package zkcoord
