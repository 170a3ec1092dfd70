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
// # Files
//
// One file a subject, with legal and illegal histories under testdata:
//
//	mutex.go     M1-M10
//
// Checkers are pure functions of the history, O(n log n) in its length, and
// compare indexes, not times (see package history).
package checker
