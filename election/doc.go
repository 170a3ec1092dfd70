// Package election chooses one leader among processes through ZooKeeper.
//
// # Usage
//
//	err := election.Run(ctx, opts, "/scheduler", election.Options{Label: address},
//		func(ctx context.Context, term *election.Term) error {
//			return lead(ctx, term.Epoch()) // stops when ctx ends
//		})
//
// Run campaigns, calls the function while the process leads, and campaigns again when a term was
// lost. A program can also call [Election.Campaign] itself, and work with the context of
// [Term.Bind]:
//
//	term, err := election.New(s, "/scheduler", election.Options{Label: address}).Campaign(ctx)
//	if err != nil {
//		return err // not elected
//	}
//	defer term.Resign(ctx)
//	ctx = term.Bind(ctx)
//
// No election can prevent a process from acting after it was deposed, because the process may be
// paused after it has checked its term and before it acts. This package gives you:
//
//   - a context that ends before any other candidate can be elected,
//   - an [Epoch] for resources that can compare it,
//   - and [Term.Txn] for data in ZooKeeper itself.
//
// For acts that only a leader may do, use the epoch or Term.Txn.
//
// # Guarantees
//
// E1. Epochs grow: of two terms on one path, the later one has the larger epoch. This holds even if
// the path was deleted and created again.
//
// E2. An epoch has one leader.
//
// E3. At most one term exists at a time: the context of one term ends before the next term begins.
// Guarantee S2 of package session states the assumptions.
//
// In other words, two leaders never work at the same time while both obey their contexts, and a
// resource that compares epochs can refuse a leader that does not.
//
// E4. A transaction of Txn is applied only while the term lasts, and at most once. Its result is
// truthful even if a reply was lost.
//
// E5. In its own session, an elected candidate reads everything that transactions of earlier terms
// wrote.
//
// In other words, a new leader can read the state from ZooKeeper without a sync and continue from
// it.
//
// E6. When a candidate loses a term, the context of that term ends before the candidate can be
// elected again.
//
// E7. When a leader resigns or its session expires, the next candidate is elected. No other
// candidate is elected before the leader has resigned or its session has expired. A departure wakes
// one candidate.
//
// E8. An observer sees leaders in their order, and finally the present one. Each leader that it
// sees was leading at some time after the observer saw the previous leader. It makes no request
// when candidates other than the leader come and go.
//
// In other words, a change of leader wakes few processes. An observer can miss a short term, but
// never goes back to an earlier leader.
//
// E9. A call of Campaign that fails or is cancelled leaves no candidate.
//
// E10. The contexts of Run and Bind are derived from the caller's context. When the term ends, they
// end too, with the cause, before any other candidate can be elected. Run resigns when its function
// has returned or panicked.
//
// E11. Resign ends the term and begins the resignation even if the context passed to Resign has
// ended. The session completes the resignation.
//
// In other words, a leader stops when its program stops or its term is lost, and then makes way for
// the next candidate.
//
// # Not guaranteed
//
// An observer may miss a leader that was soon replaced. It may see a new leader before that
// leader's own client has detected that it was elected. If a leader's lease has lapsed, the
// observer may still see this leader until the servers expire the leader's session.
//
// # Session loss
//
// When the session is lost, its term ends with the cause of the loss, and waiting calls fail with
// the same cause. [Run] campaigns again in a new session.
//
// # Goroutines
//
// The package keeps no goroutines, except those of requests in progress.
//
// # Znodes
//
//	<path>/<id>-latch-<number>   a candidate; its data is its label or the value of Proclaim
//
// The znode at path is created when it is needed. It is a container, which the servers delete some
// time after its last child is gone. Txn may overwrite its data, so store no data there.
//
// On the same path, a candidate of this package waits for earlier candidates of Curator's
// LeaderLatch and LeaderSelector, and of kazoo's Election. Whether their candidates wait for those
// of this package depends on the library. Candidates of LeaderLatch do so without any option.
// Candidates of LeaderSelector may fail to wait, because LeaderSelector does not sort the znodes of
// this package by their numbers. Kazoo's Election needs a lock with the option
// extra_lock_patterns=["-latch-"].
//
// Proclaim changes the data of the leader's znode. This change uses up the watch of a LeaderLatch
// directly behind that leader. The LeaderLatch is then not notified when the znode is deleted. Do
// not use Proclaim together with such candidates.
package election
