// Package recipe has the parts from which an author builds a recipe on package session: znodes that
// are created at most once, holds under the lease, transactions that are applied at most once, read
// barriers, and sets of watches. The locks, queues and elections of this module are built from
// these parts.
//
// # Usage
//
// The simplest lock: the session that owns the oldest znode below a path holds the lock.
//
//	node, err := recipe.CreateProtected(ctx, s, "/lock", "lock", nil, session.EphemeralSequential)
//	if err != nil {
//		return err // nothing is left behind
//	}
//	hold := recipe.NewHold(s, node)
//	defer recipe.Remove(s.Context(), s, node)
//	defer hold.End(errReleased)
//	// ... wait until node is the oldest ...
//	if err := hold.Grant(ctx); err != nil {
//		return err
//	}
//	work(hold.Bind(ctx)) // the context ends before anybody else can hold the lock
//
// # Did my write happen?
//
// After a lost reply, session.OutcomeOf returns Indeterminate. Two mechanisms find out whether the
// write was applied. [Once] sends a [ReadBarrier] and then reads the result of the write: a znode
// under a name that nobody else uses, or data that nobody else writes meanwhile. A protected create
// and [Remove] work in the same way. A [Ledger] is for writes whose result other clients may
// delete: the ledger's own znode shows which transactions were applied. [Ensure] uses neither
// mechanism: it does not promise that its create is applied at most once.
//
// # Guarantees
//
// The guarantees are those of package session: S2 for a [Hold], S3 for a protected create, S6 for
// [Watches].
//
// # Not guaranteed
//
// This package promises no fairness among clients and no order of them: the recipe must provide
// both.
//
// A server may return an old list of znodes. If a decision from an old list would be wrong, call
// [ReadBarrier] before you read the list.
//
// If another client sets the data of a ledger's znode, the [Ledger] can report a transaction as
// applied although it was not.
//
// # Session loss
//
// If the session ends, every function returns the session's error, and every hold ends. The servers
// delete ephemeral znodes.
//
// # Cost
//
// A [ReadBarrier] is one quorum write that changes nothing. From the call of Expect or Grant, a
// [Hold] costs about 4 to 6 such writes per session timeout. All holds of a session share these
// writes. A protected create is one create, unless its reply is lost. A [Ledger] adds one operation
// to each transaction.
//
// # Znodes
//
// A protected znode is named <id>-<kind>-<number>. Its id is 32 hexadecimal digits, and is never
// used twice.
package recipe
