// Package election is the choice of one leader among processes, on ZooKeeper.
//
// No election can keep a process from acting after it was deposed: it may be
// paused between looking and acting. What this package gives is a context that
// ends before anybody else can be elected, an [Epoch] for resources that can
// compare it, and [Term.Txn] for data that is in ZooKeeper itself. Use one of the
// latter two for what only a leader may do.
//
// # Usage
//
//	err := election.Run(ctx, opts, "/scheduler", election.Options{Label: address},
//		func(ctx context.Context, term *election.Term) error {
//			return lead(ctx, term.Epoch()) // stops when ctx ends
//		})
//
// Those who lead by hand call [Election.Campaign], and work under [Term.Bind].
//
// # Guarantees
//
// E1. Epochs grow: of two terms on one path, the later has the larger epoch,
// also after the path was deleted and made again.
//
// E2. An epoch has one leader.
//
// E3. At most one term exists at a time: the context of one ends before the
// next is given out. (Assumptions: see package session, S2.)
//
// E4. A transaction of Txn is applied only while the term stands, at most once,
// and its answer is true also if a reply was lost.
//
// E5. Who is elected reads, in the same session, all that transactions of
// earlier terms wrote.
//
// E6. A candidate is told that it lost a term before it can be elected again.
//
// E7. When a leader resigns or its session expires, the next candidate is
// elected, and nobody is deposed otherwise. A departure wakes one candidate.
//
// E8. An observer sees leaders that were leaders at some time since the last
// that it saw, in their order, and in the end the present one. It makes no
// request when candidates other than the leader come and go.
//
// E9. A call of Campaign that fails or is cancelled leaves no candidate.
//
// E10. The context of Run, and of Bind, is derived from that of the caller, and
// ends too, with the cause, before anybody else can be elected. Run resigns when
// its function has returned or panicked.
//
// E11. Resign ends the term and begins the resignation whatever the state of its
// context, and the session finishes it.
//
// # Not guaranteed
//
// An observer may miss a leader that was replaced soon. It may see a leader
// that has not been told yet, or one whose lease has lapsed, until the servers
// expire its session.
//
// # Session loss
//
// When the session is lost its term ends with the cause and waiting calls fail
// with it. [Run] campaigns again in a new session.
//
// # Goroutines
//
// None, beyond those of the requests under way.
//
// # Znodes
//
//	<path>/<id>-latch-<number>   a candidate; its data is its label, or what Proclaim set
//
// Path itself is made when needed, as a container, which the server deletes
// some time after its last child went. Its data is used by Txn. Candidates of
// Curator's LeaderLatch and LeaderSelector and of kazoo's Election on the same
// path count. For them to count ours, LeaderLatch needs nothing, and kazoo's
// Election a lock with extra_lock_patterns=["-latch-"]. But Proclaim changes
// the leader's node, and a LeaderLatch right behind it is not told any more when
// the node goes: do without Proclaim where such candidates stand.
package election
