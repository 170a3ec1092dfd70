// Package history implements the record of a run on one clock: the operations that clients invoked,
// the results that they got, the accesses that the resource accepted, and the faults.
//
// A history is a sequence of [Event]. An operation is two events, an Invoke and its completion: OK
// (it took effect), Fail (it provably did not) or Info (unknown). The other kinds of events record
// facts of one instant: a session was lost, a hold began, a fault was healed.
//
// # Order
//
// [Recorder.Record] assigns index and time under one lock. So the order of indexes is a possible
// order of the events. A completion with a smaller index than an invocation came before it in real
// time. Checkers compare indexes, never times, because on a virtual clock many events have the same
// time. Times are for durations and reports.
//
// This order is valid only if clients record as follows: Invoke before the call, the completion
// after the call has returned, the start of a hold after the grant was returned, and the end of a
// hold before the release.
//
// # Form
//
// [History.WriteJSON] writes JSON Lines: a header with the schema's version, then one event per
// line. [History.WriteText] writes a form for people and for testdata; [ParseText] parses it.
// [History.WriteEDN] writes the form of Jepsen's tools. If the last event of a history is not the
// phase "end", the history is incomplete, see [History.Complete].
package history
