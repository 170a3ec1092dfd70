// Package zktest runs a ZooKeeper ensemble inside the process of a test. It is
// to ZooKeeper what httptest is to HTTP.
//
// # Usage
//
//	e := zktest.Start(t) // three servers, closed at the end of the test
//	conn, _, err := zk.Connect(e.Servers(), 10*time.Second, zk.WithDialer(e.Dialer))
//	if err != nil {
//		t.Fatal(err)
//	}
//	defer conn.Close()
//
//	e.Kill(e.Leader()) // one of many faults
//
// An [Ensemble] speaks the client protocol of ZooKeeper 3.9, or of 3.8 with [Options.Version]: all
// operations, kinds of nodes, watches, ACLs, sessions and error codes. An unmodified client cannot
// distinguish it from real servers. The ensemble models the servers message by message: a leader
// with the log and the sessions, elections, and followers. A follower forwards writes, answers
// reads from the state that it has applied, and reports which sessions are active. Where a real
// ensemble answers with stale data, or too late, zktest does so too.
//
// # Versions
//
// Releases of ZooKeeper behave differently for clients. zktest models these
// differences:
//
//	since            difference
//	3.8.4, 3.9.2     exists needs the permission READ (ZOOKEEPER-2590)
//	3.8.5, 3.9.3     check is refused outside of a multi (ZOOKEEPER-2623)
//	3.9.0            an event carries the zxid of its transaction (ZOOKEEPER-4655); the
//	                 events that setWatches itself triggers still carry -1
//	3.9.0            watches of different modes on one path are separate, and each can be
//	                 removed alone (ZOOKEEPER-4466, -4471, -4472)
//	3.9.0            a truncated request (setData, setACL, delete or check) whose session has moved
//	                 to another server gets a marshalling error; before, the connection was closed
//	3.9.4            addresses of IPv6 in ACLs (ZOOKEEPER-4240)
//	3.9.6            setWatches notifies only a client that may read the node
//	3.9.6            deleteContainer from a client closes its connection
//
// All other behavior is the same in all releases. In particular, 3.8 and 3.9 never delete a
// container that never had a child. A release of 3.8 after 3.8.6 may have a behavior that the table
// lists only for 3.9.
//
// # Clocks
//
// An ensemble in memory that is started in a testing/synctest bubble runs on the
// bubble's clock, so hours pass in milliseconds. With [Options.Step], messages
// arrive one at a time in an order drawn from the seed, see [Ensemble.Drive]. If
// each client does one thing at a time, the same seed gives the same run, byte for
// byte. The seed does not decide which goroutine of a client runs first.
//
// # Faults
//
// The methods of an Ensemble inject faults: [Ensemble.Kill], [Ensemble.Pause], [Ensemble.Wipe],
// [Ensemble.Cut], [Ensemble.Lag], [Ensemble.Inject], [Ensemble.Expire], [Ensemble.ElectLeader],
// [Ensemble.DelayLink], [Ensemble.SetClockRate], [Ensemble.SetExpirerPace], [Ensemble.DelayPings].
// The comment of each names the failure that it models.
//
// # Guarantees
//
// An ensemble keeps ZooKeeper's guarantees. Writes are linearizable and have the same order at all
// servers. A client's requests are answered in the order in which they were sent. A client receives
// a watch's event before it can read the change. A session expires no sooner than its timeout after
// the last activity that was reported to the leader. Bad bytes close the connection that they
// arrived on, and nothing else.
//
// # Not guaranteed
//
// An ensemble is a model. Once an election or the synchronization of a follower
// starts, it takes no time. Servers agree on the time of day. In memory a client can
// write without limit to a server that is paused. The packages
// zktest/internal/quorum and zktest/internal/tree have the rules of the model.
//
// These features of ZooKeeper are left out:
//
//   - read-only mode: a server without a quorum serves nobody
//   - local sessions: the quorum knows each session
//   - quotas: they can be set and are not enforced
//   - reconfiguration, observers, groups and weights of servers
//   - TLS and mechanisms of SASL
//   - the disk, the AdminServer, metrics other than the most common ones of mntr,
//     and the digests of the tree, which the four-letter word "hash" shows
//   - limits on the number or the size of requests, except [Options.MaxFrame]
//
// ZooKeeper lists the children of a node in the order of a hash table. zktest lists them in an
// order that is drawn from the seed. Neither ZooKeeper nor zktest promises an order.
//
// # Cost
//
// An ensemble begins to serve about 0.2 ms after New is called. Each replica has its own tree:
// 100,000 nodes of 100 bytes on three servers take 88 MiB. With a thousand sessions over TCP, each
// session takes 25 KiB, both ends together.
//
// With eight clients over TCP a read takes 27 µs of processor time and a write 33 µs, for the
// client and three servers together. The kernel takes two thirds of this time, because each request
// makes four calls on sockets. So two processors allow at most about 73,000 reads or 60,000 writes
// a second. On two processors with other work, 24,000 reads and 20,000 writes a second were
// measured. In memory a read takes 2.4 µs and a write 6.8 µs. See BenchmarkReadsTCP and the
// benchmarks after it.
//
// # Goroutines
//
// An ensemble has one goroutine for its timers. Over TCP it has one more for each listener and two
// for each connection. [Ensemble.Close] ends all of them before it returns.
package zktest
