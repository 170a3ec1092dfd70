// Package fence lets a resource refuse a writer that no longer holds its lock.
//
// A process can be paused for longer than its session lives. It cannot know that, and it goes on
// with the write that it was about to send. Only the resource can refuse that write. Every grant of
// package lock, every term of package election and every claim of package queue has a fencing token,
// which grows. A resource remembers the largest token that it has accepted, and refuses smaller ones.
// This package has that check for databases, HTTP servers, files, stores with compare-and-swap, and
// memory. In each of them the check and the write are one atomic step: between two steps there is room
// for a pause.
//
// It imports the standard library only. Tokens of any lock service will do that grow with every grant.
//
// # Usage
//
// With a database, the work is done in a transaction that first locks and raises the guard row:
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
// # Guarantees
//
// F1. Once a resource has accepted a token, it accepts no smaller one: no call with a smaller token
// takes effect after that, however long its process was paused, and wherever it was paused.
//
// F2. A token equal to the largest is accepted: a holder may write as often as it likes.
//
// F3. A refused call changes nothing. Its error is a [StaleError] with both tokens, and
// errors.Is finds [ErrStale] in it.
//
// F4. The error of [Table.Do] is true also if the connection was lost at any of its statements. Nil
// means that the transaction is committed. [ErrUnknown] means that neither could be found out. Any
// other error means that it is not committed, and never will be.
//
// F5. [WriteFile] leaves the old content or the new content whenever it is interrupted, and never a
// part. A token that was accepted is on the disk before the content changes.
//
// F6. A request without a token, or with one that is no number above zero, is refused. The client's
// [Transport] does not send it, and the server's [Handler] does not serve it.
//
// F7. [Update] writes only over the value that it has compared tokens with.
//
// # Not guaranteed
//
// A token protects what is written through the fence. It cannot call back what has no fence: mail
// that has been sent, a payment at a provider that knows no tokens. See docs/fencing.md.
//
// A transaction that is rolled back has accepted nothing: the guard row forgets its token with
// everything else. A [Gate] forgets its largest token when its process ends; see Gate.Raise.
//
// Readers that present no token are not fenced. A holder that reads, computes and writes has to do
// both under its token.
//
// # Cost
//
// [Table.Do] adds one statement to a transaction, and one more to a refused one. It holds the lock on
// the guard row until the transaction ends, so transactions on one resource run one after the other.
// A client that is paused inside of one blocks the next holder for as long:
// set idle_in_transaction_session_timeout in PostgreSQL. A [Gate] serves one call at a time.
// [WriteFile] costs three or four fsyncs.
//
// # Sources
//
// Martin Kleppmann, "How to do distributed locking" (2016), which names the fencing token; Mike
// Burrows, "The Chubby lock service for loosely-coupled distributed systems" (OSDI 2006), section 2.4,
// whose sequencers are the same. PostgreSQL's INSERT ... ON CONFLICT locks the row also if its WHERE
// refuses it, and tests the row that it has locked.
package fence
