// Package history is the record of a run: what clients asked for, what they
// were told, what the resource saw and what was broken, on one clock.
//
// A history is a sequence of [Event]. An operation is two events, an Invoke
// and its completion: OK (it took effect), Fail (it provably did not) or Info
// (nobody knows). The other kinds tell facts of one instant: a session was
// lost, a hold began, a fault was healed.
//
// # Order
//
// [Recorder.Record] stamps index and time under one lock, so the order of
// indexes is an order in which things could have happened, and a completion
// with a smaller index than an invocation came before it in real time. Checkers
// compare indexes, never times: on a virtual clock many events share an
// instant. Times serve durations and reports.
//
// For that order to be sound a client records Invoke before it calls, the
// completion after the call has returned, hold begin after the grant was
// returned, and hold end before it gives the grant up.
//
// # Form
//
// [History.WriteJSON] writes JSON Lines: a header with the schema's version,
// then one event a line. [History.WriteText] writes what people read and what
// testdata is written in; [ParseText] reads it back. [History.WriteEDN] writes
// what the tools of Jepsen read. A history whose last event is not the phase
// "end" was cut short, see [History.Complete].
package history
