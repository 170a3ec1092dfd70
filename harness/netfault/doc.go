// Package netfault breaks the way from one client to an ensemble, at the client's end: a dialler that goes between a
// session and whatever it would dial otherwise.
//
// A Proxy carries all connections of one client. It can be stalled (nothing arrives, nothing breaks, as when a cable is pulled),
// reset, refused, delayed, pinned to one server, each at any moment and in either direction; and it can set a Trap, which
// springs at the n-th request of a kind: before it is sent, or after it was answered and before the client learns of it.
//
// It carries whatever the inner dialler returns, TCP or in memory, and works in a testing/synctest bubble: it waits on
// channels and timers only, and never with a mutex stalled.
//
// # Guarantees
//
// Bytes arrive in order and unchanged, or not at all. A stalled proxy loses none: it heals on the same connection, and what the
// server said meanwhile arrives then, the end of the connection too. As in a network, a client can write 256 KiB into a stalled
// proxy before it notices.
//
// # Goroutines
//
// Two for each connection, until it is closed and the inner connection's calls have returned.
//
// # Not guaranteed
//
// Traps read the protocol, so they see nothing in a connection that is encrypted above the proxy.
package netfault
