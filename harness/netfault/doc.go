// Package netfault injects faults into the connections between one client and an ensemble, at the
// client's end. It wraps the dialer of a session.
//
// A [Proxy] carries all connections of one client. It can stall them (nothing arrives and nothing
// breaks, as if a cable were pulled), reset them, delay their data, refuse dials, or pin the client
// to one server. Stalls and delays can be limited to one direction.
//
// The method Set of a Proxy sets a [Trap]. The trap springs at the n-th request of a kind: before
// the request is sent, or after it was answered and before the client gets the reply.
//
// A Proxy carries any connection of the inner dialer, TCP or in memory. It also works in a
// testing/synctest bubble, because it waits only for channels and timers, and never while it holds
// a mutex.
//
// # Guarantees
//
// Bytes arrive in order and unchanged, or not at all. A stalled proxy loses no bytes. After the
// resume the same connection continues, and the data that the server sent meanwhile arrive,
// including the end of the connection. As on a network, a client can write 256 KiB into a stalled
// proxy before its writes block.
//
// # Goroutines
//
// Each connection has two goroutines. They end when the connection is closed and their calls of the
// inner connection have returned.
//
// # Not guaranteed
//
// Traps parse the protocol, so they detect no request in a connection that the client encrypts.
package netfault
