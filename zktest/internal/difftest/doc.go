// Package difftest holds zktest against ZooKeeper: the same random requests go to both, and all that comes back is compared.
// It has nothing to import; its tests are what it is.
//
// Package internal/trace draws the requests, plays them and renders what comes back.
//
// Whatever differs is shrunk to the steps that it takes. To compare more than the few traces of a normal run:
//
//	go test ./zktest/internal/difftest -run ZooKeeper -timeout 30m -args -nodes 3 -traces 5000 -seed 100000 -workers 8
//
// # What is left to differ
//
// These requests no trace holds, and zktest answers them in its own way:
//
//	request                                    ZooKeeper                                       zktest, and why
//	check that holds, outside of a multi,      one server never answers; followers leave       never answers: no client sends it, and an
//	before 3.8.5 and 3.9.3                     their leader over a transaction unknown to      ensemble that falls over would test nobody
//	                                           them
//	write that is cut short, except a multi,   several servers do not stand it                 marshalling error, as from one server
//	at several servers since 3.9.0
//	createTTL of a mode without TTL, TTL -1    the server ends its process                     bad arguments, as for any other TTL
//	reconfig that is cut short                 the leader answers nothing ever after           marshalling error, as for any other request
//	checkWatches of a path without a slash     marshalling error, while anybody on the server  no watcher
//	                                           has a recursive watch
//	path of no UTF-8, or beyond U+FFFF, in     echoed in the encoding of Java's characters     echoed as it came: no node can have that name
//	sync or in an event
//	the events of a session that is closed     some, none or all of them come, before the      all of them come
//	by another connection, for itself          server hangs up
//	request on a connection whose session      the server hangs up, and may answer what was    the server hangs up
//	has moved                                  sent behind the request before it does
//
// A client of a trace that resumes its session first waits until the server has closed the old connection. ZooKeeper
// finds the connection of a session in ServerCnxnFactory.sessionMap. A server that closes an old connection removes the entry by
// the session's id alone (removeCnxnFromSessionMap), so also that of the next connection if it is there already. When the session
// ends, that connection is not closed, and its requests are dropped. That was one difference in 15,000 traces; of 24,000
// sessions that were resumed at once and then closed by another connection, 6 to 15 kept a connection on each of 3.8.0, 3.9.3 and
// 3.9.6. Zktest closes it.
//
// Nor does a trace hold what only servers send each other, deleteContainer and createSession.
//
// # Releases
//
// zktest behaves as the release of the servers that it is compared with, by the table of rules in zktest/internal/tree. Compared
// as another release it differs in what the table lists between the two, and in nothing else; that is a test. Release 3.8.0 is
// asked less: no create2 in a multi and no create whose mode is not its operation's (3.8.2, ZOOKEEPER-4026). Zktest keeps
// events from a client that may not read the node as any release (3.8.4 and 3.9.2, ZOOKEEPER-4799): Debian's 3.8.0 has it.
//
// Since 3.9.0 the leader gives a write that it cannot read the zxid of the transaction before it (ZOOKEEPER-4575), where 3.8
// takes a new one. The zxid in the answer to such a write is compared as that of a read. Several servers do not stand such a
// write, so only traces for one server have it.
//
// What clients see of faults is compared in four scenes: a follower that is cut off and lies about a session that has expired, one
// that lags until it syncs, a reply that is lost after the commit, and a deposed leader that still answers reads and sync. How long
// expiry, elections and the like take is not compared; that has tests of its own in zktest.
package difftest
