// Package quorum is a model of a ZooKeeper ensemble: servers that elect a
// leader, the leader's log and sessions, followers that forward writes and
// answer reads, and the clients' connections. It does what the processors,
// the session tracker, the leader and the learner handlers of ZooKeeper 3.8
// do, message by message, between the servers of one process.
//
// It is a pure state machine. Nothing in it reads a clock, starts a goroutine,
// blocks, or draws a random number but from the seed: a [Cluster] moves when it
// is told of a frame, of a closed connection, of a fault, or of the time.
// It is not safe for concurrent use.
//
// # What is simplified
//
// An election, and the bringing up to date of a follower, happen in one
// instant, at which the servers that take part must reach each other, one round
// trip after they have met. Which server wins, which logs are cut and what is committed follow the rules of
// ZAB. There is no disk that loses or delays anything: what a server has
// acknowledged it has after a restart.
package quorum
