// Package recipe has what the author of a recipe needs beyond package session: nodes
// that are made once, holds under the lease, transactions that are applied once, read
// barriers and sets of watches. The locks, queues and elections of this module are
// made of it.
//
// # Usage
//
// The smallest lock: the oldest node below a path holds it.
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
// After a lost reply, session.OutcomeOf says Indeterminate. Two mechanisms find out.
// [Once] reads what the write made, behind a [ReadBarrier]: a node under a name that
// nobody else uses, or a mark that nobody else leaves meanwhile. A protected create and
// [Remove] do that too. A [Ledger] is for writes whose result other clients may delete:
// its own node tells. [Ensure] needs neither, because it may be applied twice.
//
// # Guarantees
//
// They are those of package session: S2 for a [Hold], S3 for a protected create, S6 for
// [Watches].
//
// # Not guaranteed
//
// No fairness and no order: a recipe decides from a list of nodes, of which a server may
// show an older state. Use [ReadBarrier] where an older state would be wrong.
//
// # Session loss
//
// Every function fails with the session's error when the session ends, and every hold
// ends with it. Ephemeral nodes are deleted by the servers.
//
// # Cost
//
// A [ReadBarrier] is one quorum write that changes nothing. A granted or expected [Hold]
// costs about 2.5 to 6 such writes a session timeout for the whole session. A protected
// create is one create, as long as its reply is not lost. A [Ledger] adds one operation
// to each transaction.
//
// # Znodes
//
// A protected node is named <id>-<kind>-<number>. Its id is 32 hexadecimal digits, and is
// never used twice.
package recipe
