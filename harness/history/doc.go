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
// order of the events. If a completion has a smaller index than an invocation, the completion came
// first in real time. Checkers order events by index, because on a virtual clock many events have
// the same time. Times are for durations and reports.
//
// The order is valid only if clients record each event at the right moment:
//   - an Invoke before the call
//   - its completion after the call has returned
//   - the start of a hold after the grant was returned
//   - the end of a hold before the release
//
// # Form
//
// [History.WriteJSON] writes JSON Lines: a header with the schema's version, then one event per
// line. [History.WriteText] writes a form for people and for testdata; [ParseText] parses it.
// [History.WriteEDN] writes the form of Jepsen's tools. If the last event of a history is not the
// phase "end", the history is incomplete, see [History.Complete].
package history
