// Package bench compares the primitives with other libraries: go-zookeeper's Lock, Curator, kazoo,
// and the floor. The floor is a client that makes only the requests that no recipe can avoid.
//
// All libraries run the same jobs on the same ensemble in turns, round after round. So a
// disturbance affects all libraries in the same round, and the ratios between libraries are
// comparable even if the times of different rounds are not. Client i of each library connects to
// server i modulo the number of servers.
//
// Before the rounds, each library runs each job once, for a fixed number of operations, through a
// proxy that counts requests on the wire.
//
// # Not guaranteed
//
// The results do not show the speed of a library alone. All clients of one library share one
// process, which may limit them: the clients of kazoo also share Python's interpreter lock, and the
// clients in Go share the process that measures.
//
// # Goroutines
//
// The goroutines of Run, and the processes of other libraries, end when Run returns.
//
// # Znodes
//
// All znodes are below /zkcoord-bench, in the ensemble that Run starts. Run deletes the znodes of
// each job after that job, so that they do not affect later jobs. It does not delete
// /zkcoord-bench itself, or the znodes of an interrupted job: they end with the ensemble.
package bench
