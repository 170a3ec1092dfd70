// Package zktest runs a ZooKeeper ensemble inside the test's own process: it is
// to ZooKeeper what httptest is to HTTP.
//
//	e := zktest.Start(t)
//	conn, _, err := zk.Connect(e.Servers(), 10*time.Second, zk.WithDialer(e.Dialer))
//
// An [Ensemble] speaks the client protocol of ZooKeeper 3.8, so that an
// unmodified client cannot tell it from the real thing: all operations, kinds
// of nodes, watches, ACLs, sessions, error codes. Behind it is a model of the
// servers, message by message: a leader with the log and the sessions,
// followers that forward writes, answer reads from what they have applied and
// report which sessions were active, and elections. Where the real one answers
// with stale data, or too late, this one does too.
//
// # Clocks
//
// Started in a testing/synctest bubble, an ensemble in memory runs on the
// bubble's clock: hours pass in milliseconds. With [Options.Step] messages
// arrive one at a time in an order drawn from the seed, see [Ensemble.Drive].
//
// # Faults
//
// The methods of an Ensemble break it: [Ensemble.Kill], [Ensemble.Pause],
// [Ensemble.Cut], [Ensemble.Lag], [Ensemble.Inject], [Ensemble.Expire],
// [Ensemble.ElectLeader], [Ensemble.DelayPings], [Ensemble.DelayLink],
// [Ensemble.SetClockRate]. Each says what it models.
//
// # Guarantees
//
// An ensemble holds to what ZooKeeper promises: writes are linearizable and in
// one order at all servers, a client's requests are answered in the order sent,
// a watch's event comes before the change can be read, a session is expired no
// sooner than its timeout after the leader was last told of it. Bad bytes close
// the connection that they came on, and nothing else.
//
// # Not guaranteed
//
// It is a model. An election, and the bringing up to date of a follower, take
// one instant once they start. There is no disk, no TLS, no SASL mechanism, no
// reconfiguration, no observer, and quotas are not kept. Servers agree on the
// time of day. In memory a client can write without bound to a server that is
// paused. The rules that it follows are in
// zktest/internal/quorum and zktest/internal/tree.
//
// # Cost
//
// An ensemble serves some 0.2 ms after New is called. Each replica has a tree of
// its own: 100,000 nodes of 100 bytes on three servers take 88 MiB. Over TCP
// most of the time of a request goes to the kernel.
//
// # Goroutines
//
// One for the time, and over TCP one for each listener and two for each
// connection. [Ensemble.Close] ends all of them before it returns.
package zktest
