// Package bench measures the primitives side by side with what else there is:
// go-zookeeper's Lock, Curator, kazoo, and the requests that a recipe cannot
// do without.
//
// All libraries run the same jobs on the same ensemble in turns, round after
// round, so that what disturbs one round disturbs all: their ratios can be
// compared where their times cannot. Client i of each is connected to server i,
// modulo the number of servers. Beforehand each runs each job once for a fixed
// number of operations behind a proxy that counts requests on the wire.
//
// # Not guaranteed
//
// All clients of one library share one process: kazoo's share Python's
// interpreter lock, and those in Go the process of the measurement itself.
//
// # Goroutines
//
// Those of Run end with it. The processes of other libraries too.
//
// # Znodes
//
// Everything is below /zkcoord-bench, and deleted.
package bench
