// Package zktest runs a ZooKeeper ensemble inside the test's own process: it is
// to ZooKeeper what httptest is to HTTP.
//
//	e := zktest.Start(t)
//	conn, _, err := zk.Connect(e.Servers(), 10*time.Second, zk.WithDialer(e.Dialer))
//
// An [Ensemble] speaks the client protocol of ZooKeeper 3.9, or of 3.8 with
// [Options.Version], so that an
// unmodified client cannot tell it from the real thing: all operations, kinds
// of nodes, watches, ACLs, sessions, error codes. Behind it is a model of the
// servers, message by message: a leader with the log and the sessions,
// followers that forward writes, answer reads from what they have applied and
// report which sessions were active, and elections. Where the real one answers
// with stale data, or too late, this one does too.
//
// # Versions
//
// Releases of ZooKeeper differ in what a client can see. These differences are
// modelled:
//
//	since            what
//	3.8.4, 3.9.2     exists needs the permission READ (ZOOKEEPER-2590)
//	3.8.5, 3.9.3     check is refused outside of a multi (ZOOKEEPER-2623)
//	3.9.0            an event carries the zxid of its transaction (ZOOKEEPER-4655); the
//	                 events by which a server answers setWatches still carry -1
//	3.9.0            watches of different modes on one path are separate, and each can be
//	                 removed alone (ZOOKEEPER-4466, -4471, -4472)
//	3.9.4            addresses of IPv6 in ACLs (ZOOKEEPER-4240)
//	3.9.6            setWatches tells only a client that may read the node
//	3.9.6            deleteContainer of a client closes its connection
//
// The rest is the same in all releases. In particular, 3.8 and 3.9 never delete
// a container that never had a child. A newer release of 3.8 may have what is
// listed for 3.9 only.
//
// # Clocks
//
// Started in a testing/synctest bubble, an ensemble in memory runs on the
// bubble's clock: hours pass in milliseconds. With [Options.Step] messages
// arrive one at a time in an order drawn from the seed, see [Ensemble.Drive]:
// the same seed gives the same run, byte for byte, of clients that do one thing
// at a time. Which of a client's own goroutines comes first it cannot say.
//
// # Faults
//
// The methods of an Ensemble break it: [Ensemble.Kill], [Ensemble.Pause],
// [Ensemble.Cut], [Ensemble.Lag], [Ensemble.Inject], [Ensemble.Expire],
// [Ensemble.ElectLeader], [Ensemble.DelayLink], [Ensemble.SetClockRate],
// [Ensemble.SetExpirerPace]. Each says what it models.
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
// its own: 100,000 nodes of 100 bytes on three servers take 88 MiB. Each of a
// thousand sessions over TCP takes 25 KiB, both ends together.
//
// With eight clients over TCP a read takes 27 µs of processor time and a write
// 33 µs, client and three servers together, two thirds of it in the kernel, where
// each request is four calls on sockets: two processors bound that to some
// 73,000 reads and 60,000 writes a second. On two that had other work at the
// time, 24,000 reads and 20,000 writes a second were measured. In memory a read
// takes 2.4 µs and a write 6.8 µs. See BenchmarkReadsTCP and its neighbours.
//
// # Goroutines
//
// One for the time, and over TCP one for each listener and two for each
// connection. [Ensemble.Close] ends all of them before it returns.
package zktest
