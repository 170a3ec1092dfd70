// Package client runs a recipe in any language as a client of the harness: a
// process that reads requests from its standard input and writes replies to its
// standard output, one JSON object a line. docs/client-protocol.md is the
// protocol for authors of such programs.
//
// A client reaches each server through a loopback address of its own, behind
// which is the dialler that the caller gives. So every fault of a client's
// connections hits it, and the session that it opens is seen there.
//
// [Start] runs a program and speaks with it. [Serve] is the other side, for
// clients in Go. [Check] finds out what is wrong with a program, and [Example]
// returns one that works.
//
// # Goroutines
//
// A [Client] has those that carry its connections, one that reads its replies
// and one that reads its errors. [Client.Close] waits for all of them.
package client
