// Package watch reports changes of znodes: which children were created and
// deleted, what the data is now, and how a whole subtree changes. It serves
// service discovery, monitoring and configuration.
//
// # Usage
//
//	for c, err := range watch.NewChildren("/workers").Changes(ctx, s) {
//		if err != nil {
//			return err // ctx or the session ended
//		}
//		fmt.Println(c.Names, c.Added, c.Removed)
//	}
//
// A ZooKeeper watch fires once, when something has changed. It must then be set
// again, and it says nothing about the changes in between. A stream of this
// package yields the current state first, and then one change after another.
//
// [NewChildren], [NewChildrenData], [NewData], [NewNode] and [NewTree] each return a [Watcher]. All
// streams have the same form: an iter.Seq2 of a change and an error. The error is nil except in the
// last pair, which has no change and says why the stream ended. [Watcher.Changes] is the stream on
// one session. [Watcher.Run] opens a new session each time the current one is lost, and continues.
// A [Value] holds decoded configuration, and a [Tree] holds a copy of a subtree.
//
// # Why iterators and not channels
//
// The body of the loop runs between two reads. A stream reads nothing ahead while its consumer is
// busy. So there is no buffer that can fill up and no goroutine that can leak. The next iteration
// sees the newest state, whatever happened in between. To read at most once a second, sleep in the
// loop. If you need a channel, send to it in the loop.
//
// # Guarantees
//
// W1. The first pair of a change and an error that a Watcher yields has the current state, even if
// the znode does not exist. Each later pair has the difference to the pair before it.
//
// W2. Changes are reported in the order of their zxids. A stream never goes back
// to an earlier state. This also holds for a Watcher that continues in a new
// session on a server that lags behind.
//
// W3. Nothing is reported twice. There is no pair without a difference, however
// many events there were.
//
// W4. Once a znode no longer changes, the last pair has its state, however slow
// the consumer is.
//
// W5. If a znode is deleted and created again, the stream reports it. This holds for the watched
// znode and for each watched child. It holds even if the deletion and the creation both happened
// while the consumer was busy, while there was no connection, or between two sessions of a Watcher.
// A znode that was created and deleted between two pairs is not reported. A znode that was deleted,
// created again and deleted once more between two pairs may be reported as deleted only.
//
// W6. A lost connection, a change of server or a missing znode neither ends a
// stream nor leaves a gap in it.
//
// W7. A stream ends once, with the cause: when ctx ends, when the session ends, or when a server
// refuses a request for good. A refusal that is session.Transient does not end it: for example, a
// server may be too busy. However the stream ends, and also if the consumer leaves the loop, no
// goroutine and no watch remains, neither in the client nor at the servers.
//
// W8. A consumer, however slow, delays neither the session nor other streams.
//
// W9. The data and the children of a NodeChange existed at the same time. Each
// change is a state that the znode was in.
//
// W10. A Value holds a value that was stored and is valid, or its default if no
// such value was read yet. If the stored value is not valid, the Value keeps the
// last good one and reports the error.
//
// In other words, a consumer sees the newest state in the end, and nothing twice.
// It notices if a znode is not the one that it saw before. It does not see every
// state in between.
//
// # Not guaranteed
//
// A stream does not report every intermediate state: if a counter is set from 1 to 2 to 3, the
// stream may report only 3. The znodes of a Tree, and the children of NewChildrenData, are read one
// by one. So the combination that a stream reports may never have existed at one time. The
// combination is right once changes cease. A stream reports the state of the session's server,
// which may be behind other servers. This includes the first state. On servers that have
// localSessionsEnabled, a Watcher may go back to an earlier state on a new session.
//
// A session may lose the permission to read a znode that a stream watches. Since 3.8.4 and 3.9.2,
// servers then send no event for the next change of that znode, and remove the watch
// (ZOOKEEPER-4799). Nothing reports that the permission has returned. So the stream may miss all
// later changes of that znode on the same connection. Start the stream again when you have restored
// the permission: a new stream reads everything.
//
// An ensemble that was wiped, or restored from a backup, assigns the same zxids a second time.
// Therefore a Watcher that continues there in a new session compares times and data as well, and
// reports the differences even if the zxids are smaller than before. It may miss three things:
//
//   - a change with the zxid, the millisecond and the bytes of an earlier one
//   - for NewChildren and NewNode: children that were created again with the same names. The
//     Watcher can miss them only if their parent was not created again, because the backup
//     contained the parent, or because the parent is "/"
//   - a change that the restore has undone, if the backup contains the stream's own session and
//     this session continues
//
// Restart the programs after a restore.
//
// # Session loss
//
// When a session is lost, its streams end with the cause. A Watcher remembers
// what it reported last and continues from there on the next session: see
// [Watcher.Run], and use [Value.Keep] and [Tree.Keep] with session.Run.
//
// # Goroutines
//
// A stream starts no goroutines, with two exceptions: while it reads a tree or children with data,
// and while it checks which children were deleted and created again. In these two cases it has at
// most 64 goroutines, one for each request in flight.
//
// # Znodes
//
// The package creates no znodes, except that Value.Update creates the znode of the Value and its
// missing parents. For each session, a server keeps one watch for each path whose data is watched,
// and one for each path whose children are watched. The number of streams does not matter.
// NewChildren needs one, NewData one, NewNode two, and a Tree two for each znode.
//
// The package does not use recursive watches of ZooKeeper, each of which covers a whole tree.
// Servers do not report the events that such a watch missed while the connection was lost. So the
// whole tree would have to be read again after each lost connection.
package watch
