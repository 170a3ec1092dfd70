// Package checker judges histories.
//
// A [Checker] judges one or more properties, each with an id (M1, E2, Q3 ...)
// that code, tests and reports share. The verdict on a property is Invalid with
// the few events that prove it, Valid, or Unknown: a checker that panicked or
// ran out of time, a history that is malformed or was cut short. NotExercised is
// an Unknown with a known reason: nothing happened that could have violated the
// property. Only Valid passes.
//
// [Run] is the one way to apply checkers: it turns whatever goes wrong in them
// into Unknown. [New] makes a checker of a function.
//
// # Properties
//
// One file a subject, with legal and illegal histories under testdata:
//
//	envelope.go                     when holds may overlap
//	mutex.go      M1 M2 M3 M5-M10   tokens, fence, holds, leftovers, liveness
//	rwlock.go     RW1-RW3           writers alone, readers together, nobody passes
//	semaphore.go  P1 P2             no more than there are; none lost
//	election.go   E1-E9             epochs, terms, observers
//	group.go      G1-G4             members listed, gone, followed
//	queue.go      Q1-Q7             linearizable FIFO of distinct values; claims
//	priority.go   Q8                the urgent first
//	effect.go     Q10               an acknowledgement and its effect
//	barrier.go    B1-B3             barriers
//	double.go     D1-D5             double barriers
//	watch.go      W1-W7             watches of the client, states of watchers
//	session.go    S1-S4             ephemerals, expiry
//	register.go   Z1-Z4             ZooKeeper's own writes and reads, by zxid
//	vacuity.go    H2 H3 V1-V5       did the run do what it was made for
//	errors.go     H4 H5             errors nobody expects, logs of the nodes
//
// H1, that the run was whole, is judged by package harness. M4, that a naive lock
// does overlap, is a mutant of the scenarios and no property of a history.
//
// Checkers are pure functions of the history, O(n log n) in its length, and
// compare indexes, not times (see package history). [Referee] is the general search
// by porcupine that they are compared with, for small slices only.
package checker
