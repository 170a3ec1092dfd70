// Package watch tells what becomes of znodes: which children came and went,
// what the data is now, how a whole subtree changes. It serves service
// discovery, monitoring and configuration.
//
// ZooKeeper itself says only that something changed, once, after which the
// watch has to be set again, and says nothing of what happened in between. A
// stream of this package is the state, and then one change after another:
//
//	for c, err := range watch.NewChildren("/workers").Changes(ctx, s) {
//		if err != nil {
//			return err // ctx ended, or the session did
//		}
//		fmt.Println(c.Names, c.Added, c.Removed)
//	}
//
// [NewChildren], [NewChildrenData], [NewData], [NewNode] and [NewTree] each
// return a [Watcher]. Its streams all have this one form, iter.Seq2 of a change
// and an error. The error is nil but for the last pair, which has no change and
// says why there are no more. [Watcher.Changes] is the stream on one session, and
// [Watcher.Run] goes on over lost sessions. [Value] keeps decoded configuration,
// and [Tree] a subtree.
//
// # Why iterators and not channels
//
// The loop's body runs between two looks at the servers. Nothing is read ahead
// for a consumer that is busy, so there is no buffer to fill up and no
// goroutine to leave behind, and the next turn of the loop sees the newest
// state, whatever came between. To look at most once a second, sleep in the
// loop. Where a channel is needed, send to it in the loop.
//
// # Guarantees
//
// W1. The first pair is the state, also of a path that does not exist; each
// later one is the difference to the one before it.
//
// W2. Changes come in the order of their zxids. A stream never goes back to an
// earlier state, also not that of a Watcher which goes on in a new session at a
// server that lags behind.
//
// W3. Nothing is told twice. There is no pair without a difference, however
// many events there were.
//
// W4. When a znode no longer changes, the last pair has its state, however slow
// the consumer.
//
// W5. A deletion and creation anew is seen, of the path and of each child, also
// if both happened while the consumer was busy, or while there was no
// connection, or between two sessions of a Watcher. What was created and
// deleted in between is not, and what came back and went again meanwhile may
// be told as gone only.
//
// W6. Lost connections, other servers and missing nodes neither end a stream
// nor leave a gap in it.
//
// W7. A stream ends when ctx or the session ends, with the cause, once, or
// when a server refuses to answer. However it ends, and if the loop is left,
// no goroutine and no watch remain, here or at the servers.
//
// W8. A consumer, however slow, holds up nobody: not the session, not other
// streams.
//
// W9. The data and the children of a NodeChange were there together: each change
// is a state that the znode was in.
//
// W10. A Value is one that was stored and is valid; what is stored and is not
// leaves the last good one, and is reported.
//
// # Not guaranteed
//
// Not every state between two is seen: a counter set from 1 to 2 to 3 may be told
// as 3. The nodes of a Tree, and the children of NewChildrenData, are read one by
// one, so the whole need not have been so at any one time; when changes cease it
// is right. What is told is what the session's server knows, which may be behind
// others, for the first state as well. On servers that have localSessionsEnabled
// a Watcher may go back on a new session.
//
// An ensemble that was wiped, or restored from a backup, assigns zxids a second
// time. So a Watcher that goes on there in a new session compares times and data
// as well, and reports what differs, be it with smaller zxids than before. Three
// things it cannot detect: a change with the zxid, the millisecond and the bytes
// of an earlier one; for NewChildren and NewNode, children created again with the
// same names and in the same number where the parent itself stayed, since it was
// in the backup or is "/"; and what was lost under a session that is in the
// backup too and goes on. Restart the programs after a restore.
//
// # Session loss
//
// When the session is lost its streams end with the cause. A Watcher keeps what
// it told last and goes on from there on the next session: see
// [Watcher.Run], and [Value.Keep] and [Tree.Keep] with session.Run.
//
// # Goroutines
//
// None, but while a tree is read, or many children after one of their names may
// have come back: then at most 64 for the requests under way.
//
// # Znodes
//
// None are made, but that of a Value by its Update. A server keeps for each
// session one watch for each path whose data is watched, and one for each whose
// children are, however many streams there are: one for NewChildren, one for
// NewData, two for NewNode, and for a Tree two a node. ZooKeeper's recursive
// watches need one a tree, but after each lost connection the whole tree would
// have to be read again, since servers do not tell what such a watch missed.
package watch
