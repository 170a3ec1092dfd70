// Package fence lets a resource refuse a writer that no longer holds its lock. It has fences for
// databases, HTTP servers, files, stores with compare-and-swap, and memory.
//
// # Usage
//
// With a database, each resource has a guard row, which stores the largest token. Table.Do begins a
// transaction, locks this row in it, and stores the new token in the row. Then it calls a function
// that writes the data in the same transaction:
//
//	accounts := fence.Table{DB: db} // PostgreSQL, table "fence"; see Table.Create
//	err := mutex.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
//		return accounts.Do(ctx, "invoices", fence.TokenOf(g), func(ctx context.Context, tx *sql.Tx) error {
//			_, err := tx.ExecContext(ctx, "UPDATE invoices SET sent = true WHERE id = $1", id)
//			return err
//		})
//	})
//
// With an HTTP server, the client's requests carry the token:
//
//	client := &http.Client{Transport: &fence.Transport{}}
//	ctx = fence.WithToken(ctx, fence.TokenOf(g)) // of each request
//
//	var gate fence.Gate // on the server, one for each resource
//	http.Handle("/account", gate.Handler(account))
//
// A process can be paused for longer than its session lives. It does not notice the pause, and then
// sends the write that it was about to send. Only the resource can refuse that write. Therefore
// every grant of package lock, every term of package election and every claim of package queue has
// a fencing token, and tokens grow. A resource remembers the largest token that it has accepted and
// refuses smaller ones. In each fence of this package the check and the write are one atomic step,
// because a process can be paused between two steps.
//
// The package imports only the standard library. It works with the tokens of any lock service whose
// tokens grow with every grant.
//
// # Guarantees
//
// F1. Once a resource has accepted a token, it accepts no smaller one. No call with a smaller token
// takes effect after that, however long its process was paused, and wherever it was paused.
//
// F2. A token equal to the largest accepted one is accepted. So a holder may write as often as it
// likes.
//
// F3. A refused call changes nothing. Its error is a [StaleError] with both tokens, and errors.Is
// reports that it is [ErrStale].
//
// F4. The error of [Table.Do] is correct even if the connection is lost at any of its statements.
// Nil means that the transaction is committed. [ErrUnknown] means that Do could not find out
// whether it is committed. Any other error means that it is not committed, and never will be.
//
// F5. Whenever [WriteFile] is interrupted, the file has the old content or the new content, and
// never a part. An accepted token is on the disk before the content changes.
//
// F6. A request without a token, or with a token that is not a number above zero, is refused. The
// client's [Transport] does not send it, and the server's [Handler] does not serve it.
//
// F7. [Update] compares the token of the call with the token that is stored with the value. It
// replaces the value only if the value has not changed since that comparison.
//
// In other words, as long as all writes go through the fence, a paused holder cannot overwrite the
// work of the next holder. It does not matter at which moment of its write the holder was paused.
//
// # Not guaranteed
//
// A token protects only data that is written through the fence. It cannot undo effects elsewhere,
// such as mail that has been sent, or a payment at a provider that does not check tokens. See
// docs/fencing.md.
//
// A transaction that is rolled back has accepted nothing, because the guard row loses the token
// with everything else. A [Gate] forgets its largest token when its process ends; see Gate.Raise.
//
// Readers that present no token are not fenced. A holder that reads, computes and writes must do
// both the read and the write under its token.
//
// # Cost
//
// [Table.Do] adds one statement to a transaction, and one more to a transaction that it refuses. It
// holds the lock on the guard row until the transaction ends, so transactions on one resource run
// one after another. A client that is paused inside a transaction blocks the next holder for that
// time. To limit this, set idle_in_transaction_session_timeout in PostgreSQL. A [Gate] serves one
// call at a time. [WriteFile] costs four fsyncs.
//
// # Sources
//
// Martin Kleppmann, "How to do distributed locking" (2016), introduced the name fencing token. Mike
// Burrows, "The Chubby lock service for loosely-coupled distributed systems" (OSDI 2006), section
// 2.4, describes the same idea and calls it a sequencer. PostgreSQL's INSERT ... ON CONFLICT locks
// the row even if the statement's WHERE refuses the row, and tests the row after it has the lock.
package fence
