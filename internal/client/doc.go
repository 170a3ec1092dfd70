// Package client runs a recipe in any language as a client of the harness. The client is a process
// that reads requests from its standard input and writes replies to its standard output, one JSON
// object per line. docs/client-protocol.md describes the protocol for authors of such programs.
//
// A client reaches each server through a separate loopback address. Connections to this address are
// forwarded to the server through Options.Dial. So every fault that this dialer injects affects the
// client, and the harness observes the session that the client opens.
//
// [Start] runs a program and exchanges messages with it. [Serve] is the client's side of the
// protocol, for clients in Go. [Check] reports what is wrong with a program, and [Example] returns
// the source of a program that works.
//
// # Goroutines
//
// A [Client] has goroutines that forward its connections, one that reads its replies, one that
// reads its standard error, and goroutines that wait for the end of its process. [Client.Close]
// waits for all of them.
package client
