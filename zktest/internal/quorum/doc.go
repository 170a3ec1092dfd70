// Package quorum is a model of a ZooKeeper ensemble. It has servers that elect
// a leader, the leader's log and sessions, followers that forward writes and
// answer reads, and the clients' connections. It does the same as the
// processors, the session tracker, the leader and the learner handlers of
// ZooKeeper 3.8, message by message, between the servers of one process.
//
// The model is a pure state machine. It reads no clock, starts no goroutine,
// never blocks, and draws all random numbers from the seed. A [Cluster] changes
// only when it receives a frame, the end of a connection, a fault, or the time.
// It is not safe for concurrent use.
//
// # Simplifications
//
// An election, and the synchronization of a follower, happen at one instant. At that instant the
// servers that take part must reach each other, and their contact must have lasted for one round
// trip. The rules of ZAB decide which server wins, which logs are truncated and which transactions
// are committed. There is no disk that loses or delays data: after a restart a server has
// everything that it acknowledged.
package quorum
